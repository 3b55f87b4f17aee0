"""What is fuzzed: small valid inputs of every kind, and what ebbtide is asked to do with a spoilt one.

A case is made in an empty folder of its own from a seed; its work is a call that ends, or raises EbbtideError.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import shutil
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from ebbtide.cli.main import NO_MEMORY, main
from ebbtide.cli.reading import read_mask, read_picture
from ebbtide.data import load
from ebbtide.errors import EbbtideError
from ebbtide.json_files import write_json
from ebbtide.recipes.as_json import read_recipe, to_json
from ebbtide.recipes.build import build_settings
from ebbtide.recipes.cost import cost_of
from ebbtide.recipes.draw import check_drawing
from ebbtide.recipes.presets import PRESETS
from ebbtide.recipes.recipe import Recipe
from ebbtide.recipes.run import DataFacts, Run, open_run
from ebbtide.recipes.train import train
from fuzz_commands import command_line
from mutations import (
    Bytes,
    spoilt_archive,
    spoilt_bytes,
    spoilt_gzip,
    spoilt_json,
    spoilt_lines,
    spoilt_tensors,
)

PICTURES = {
    "png": {},
    "jpg": {"format": "JPEG"},
    "gif": {},
    "bmp": {},
    "tif": {"format": "TIFF", "compression": "tiff_lzw"},
    "ppm": {},
    "webp": {"lossless": True},
    "avif": {},
}


@dataclass(frozen=True)
class Case:
    """work: done in the case's folder. may_write: names within it that may be new or other afterwards."""

    work: Callable[[], None]
    may_write: tuple[str, ...] = ()


Kind = Callable[["Seeds", Path, Random, bool], Case]
"""Makes a case in a folder; the last argument: whether it is spoilt (else the healthy input)."""


@dataclass(frozen=True)
class Seeds:
    """Valid inputs: files by name, and a run's folder."""

    files: Mapping[str, bytes]
    run: Path
    cold: Path
    others: tuple[bytes, ...] = field(default=())

    @classmethod
    def made(cls, folder: Path, *runs: Path) -> Seeds:
        """All of them. runs: of digits, plain and blurred, to be copied; without them two small ones are trained."""
        files = _pictures() | _arrays() | _idx() | _parquet(folder)
        given = runs or [_trained(name, folder / name) for name in ("digits", "cold-blur")]
        kept = [_told(shutil.copytree(run, folder / f"run {number}")) for number, run in enumerate(given)]
        return cls(files, *kept, others=tuple(files[name] for name in sorted(files))[:12])

    def chosen(self, endings: tuple[str, ...], random: Random) -> str:
        return random.choice([name for name in sorted(self.files) if name.endswith(endings)])

    def spoilt(self, name: str, random: Random) -> bytes:
        """A file, in a way that its kind invites."""
        way: Bytes = {".gz": spoilt_gzip, ".npz": spoilt_archive}.get(Path(name).suffix, spoilt_bytes)
        if way is spoilt_bytes:
            return spoilt_bytes(self.files[name], random, self.others)
        return way(self.files[name], random)


def _pictures() -> dict[str, bytes]:
    found, values = {}, np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    for ending, options in PICTURES.items():
        for name, mode in (("colour", "RGB"), ("grey", "L")):
            packed = io.BytesIO()
            with contextlib.suppress(KeyError, OSError):  # a Pillow without this format
                Image.fromarray(values).convert(mode).save(packed, **{"format": ending.upper(), **options})
                found[f"{name}.{ending}"] = packed.getvalue()
    packed = io.BytesIO()
    Image.fromarray(values).convert("P").save(packed, "PNG")
    return found | {"palette.png": packed.getvalue()}


def _arrays() -> dict[str, bytes]:
    random, found = np.random.default_rng(0), {}
    images = random.integers(0, 256, (5, 6, 6, 3), dtype=np.uint8)
    for name, array in (("images", images), ("points", random.normal(size=(7, 2))), ("grey", images[..., 0] / 255)):
        packed = io.BytesIO()
        np.save(packed, array)
        found[f"{name}.npy"] = packed.getvalue()
    for name, save in (("plain", np.savez), ("packed", np.savez_compressed)):
        packed = io.BytesIO()
        save(packed, images=images, labels=np.arange(5) % 3)
        found[f"{name}.npz"] = packed.getvalue()
    return found


def _idx() -> dict[str, bytes]:
    random = np.random.default_rng(0)
    images = struct.pack(">HBBIII", 0, 8, 3, 6, 5, 5) + random.integers(0, 256, 150, dtype=np.uint8).tobytes()
    labels = struct.pack(">HBBI", 0, 8, 1, 6) + bytes(range(6))
    names = {"train-images-idx3-ubyte": images, "train-labels-idx1-ubyte": labels}
    return names | {f"{name}.gz": gzip.compress(content, 1) for name, content in names.items()}


def _parquet(folder: Path) -> dict[str, bytes]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return {}
    picture = io.BytesIO()
    Image.new("L", (8, 8), 90).save(picture, "PNG")
    cells = [{"bytes": picture.getvalue(), "path": None}] * 4
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": cells, "label": [0, 1, 2, 0]}), folder / "t.parquet")
    return {"table.parquet": (folder / "t.parquet").read_bytes()}


def _small(name: str) -> Recipe:
    recipe = PRESETS[name].recipe
    quick = {"updates": 3, "minutes": None, "batch": 8, "pictures": 0, "warmup": 1, "precision": "fp32"}
    return replace(
        recipe,
        network=replace(recipe.network, channels=8),
        training=replace(recipe.training, **quick),
        sampling=replace(recipe.sampling, steps=100 if recipe.sampling.sampler == "previous" else 2),
    )


def _trained(name: str, run: Path) -> Path:
    for _ in train(_small(name), run):
        pass
    return run


def _told(run: Path) -> Path:
    """A run with all that can be found out about it."""
    shutil.rmtree(run / "tensorboard", ignore_errors=True)
    (run / "report.html").unlink(missing_ok=True)
    measured = {"value": 1.5, "error": 0.1}
    one = {"count": 10} | dict.fromkeys(("frechet", "kernel", "precision", "recall"), measured)
    copying = {"nearer": measured, "copies": 0, "copies_unseen": 1, "samples": 10, "unseen": 9}
    copying |= {"distance": 1.0, "distance_unseen": 1.1}
    evaluation = {"split": "test", "reference": 99, "features": "some", "data": "digits", "copying": copying}
    write_json(run / "evaluation.json", evaluation | {"sets": {"samples": one, "unseen": one}})
    findings = [{"check": "weights", "verdict": verdict, "text": "so", "cause": None} for verdict in ("fine", "wrong")]
    write_json(run / "doctor.json", {"findings": findings, "levels": {}})
    write_json(run / "bits.json", {"split": "test", "bits": 3.0, "noise_error": 0.1})
    rows = [{"name": "restored", "psnr": measured, "ssim": None, "frechet": measured}]
    told = {"count": 9, "of": "digits", "level": 0.5, "sampler": "ddim", "steps": 2, "features": "some"}
    write_json(run / "restoration.json", told | {"rows": rows})
    return run


def asked(*arguments: object) -> None:
    """`ebbtide arguments...`; EbbtideError where it ends with one line and code 2, an AssertionError on other ends."""
    out, err = io.StringIO(), io.StringIO()
    code = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as left:
            code = left.code or 0
    said = err.getvalue()
    if code == 2 and not (arguments == ("train",) and not said):
        assert said.startswith("ebbtide: "), f"a refusal that does not begin with ebbtide: {said[:300]!r}"
        assert said.count("\n") == 1, f"a refusal of several lines: {said[:300]!r}"
        assert said[:-1].isprintable(), f"a refusal that commands the terminal: {said[:300]!r}"
        assert len(said) < 3000, f"a refusal of {len(said)} characters: {said[:300]!r}"
        if NO_MEMORY in said:
            raise MemoryError(said)
        raise EbbtideError(said)
    assert code in (0, 2, 3), f"left with {code}: {said[:300]!r}"
    assert not said, f"words on stderr of what went well: {said[:300]!r}"


def picture_in_a_folder(seeds: Seeds, folder: Path, random: Random, spoil: bool) -> Case:
    (folder / "pictures").mkdir()
    name = seeds.chosen(tuple(PICTURES), random)
    (folder / "pictures" / "good.png").write_bytes(seeds.files["colour.png"])
    (folder / "pictures" / name).write_bytes(seeds.spoilt(name, random) if spoil else seeds.files[name])
    return Case(lambda: _looked_at("pictures", size=8))


def _looked_at(source: str, **options: int) -> None:
    dataset = load(source, **options)
    x0 = dataset.batch(range(min(3, len(dataset)))).x0
    assert bool(x0.isfinite().all()), "examples that are not finite"


def picture_to_restore(seeds: Seeds, folder: Path, random: Random, spoil: bool) -> Case:
    name = seeds.chosen(tuple(PICTURES), random)
    (folder / name).write_bytes(seeds.spoilt(name, random) if spoil else seeds.files[name])
    mask = random.random() < 0.5

    def read() -> None:
        run = open_run(seeds.run)
        found = read_mask(run, Path(name)) if mask else read_picture(run, Path(name), resize=True)
        assert bool(found.isfinite().all()), "a picture that is not finite"

    return Case(read)


def array(seeds: Seeds, folder: Path, random: Random, spoil: bool) -> Case:
    name = seeds.chosen((".npy", ".npz"), random)
    (folder / name).write_bytes(seeds.spoilt(name, random) if spoil else seeds.files[name])
    return Case(lambda: _looked_at(name))


def idx(seeds: Seeds, folder: Path, random: Random, spoil: bool) -> Case:
    gz = random.choice(("", ".gz"))
    names = [f"train-{part}-ubyte{gz}" for part in ("images-idx3", "labels-idx1")]
    spoilt = random.choice(names)
    for name in names:
        content = seeds.spoilt(name, random) if spoil and name == spoilt else seeds.files[name]
        (folder / name).write_bytes(content)
    return Case(lambda: _looked_at(random.choice((".", names[0]))))


def parquet(seeds: Seeds, folder: Path, random: Random, spoil: bool) -> Case:
    name = "table.parquet"
    (folder / name).write_bytes(seeds.spoilt(name, random) if spoil else seeds.files[name])
    return Case(lambda: _looked_at(name, size=8))


def recipe(seeds: Seeds, folder: Path, random: Random, spoil: bool) -> Case:
    content = json.dumps(to_json(_small(random.choice(("digits", "moons", "cold-blur", "naive"))))).encode()
    (folder / "recipe.json").write_bytes(spoilt_json(content, random) if spoil else content)
    if random.random() < 0.1:
        once = ("--training.updates", "1", "--training.pictures", "0")
        return Case(lambda: asked("train", "recipe.json", "--out", "run", *once), ("run",))
    return Case(_parts_of_recipe)


def _parts_of_recipe() -> None:
    """All but the training: the network, what is minimised, the sampler and its steps, for small pictures."""
    found = read_recipe(Path("recipe.json"))
    shape = (2,) if found.data.source == "moons" else (1, 8, 8)
    facts = DataFacts(name="a", event_shape=shape, classes=(), examples=9, range=(-1.0, 1.0))
    cost_of(found, shape, 10)
    check_drawing(Run(path=Path("run"), recipe=found, data=facts, machine={}))
    build_settings(found.training)


RUN_FILES: Mapping[str, Bytes] = {
    "recipe.json": spoilt_json,
    "state.json": spoilt_json,
    "metrics.jsonl": spoilt_lines,
    "evaluation.json": spoilt_json,
    "doctor.json": spoilt_json,
    "bits.json": spoilt_json,
    "restoration.json": spoilt_json,
    "network.safetensors": spoilt_tensors,
    "average.safetensors": spoilt_tensors,
    "optimizer.safetensors": spoilt_tensors,
    "start.safetensors": spoilt_tensors,
}


def run_with(name: str) -> Kind:
    """Of a run's files, this one is spoilt; then what reads it is asked for."""

    def case(seeds: Seeds, folder: Path, random: Random, spoil: bool) -> Case:
        run = Path(shutil.copytree(seeds.cold if name == "start.safetensors" else seeds.run, folder / "run"))
        (file,) = [path for path in run.rglob(name)]
        if spoil:
            file.write_bytes(RUN_FILES[name](file.read_bytes(), random))
        info, report = ("info", "run"), ("report", "run")
        sample = ("sample", "run", "-n", "1", "--steps", "1", "--weights", random.choice(("average", "network")))
        resume = ("train", "run", "--resume", "--updates", "4")
        match name:
            case "recipe.json":
                wanted = random.choice((info, info, sample, report) if random.random() < 0.5 else (info,))
            case "metrics.jsonl":
                wanted = random.choice((info, info, report))
            case "network.safetensors" | "average.safetensors" | "start.safetensors":
                wanted = sample
            case "state.json" | "optimizer.safetensors":
                wanted = random.choice((sample, resume)) if name == "state.json" else resume
            case _:
                wanted = report
        new = {"report": ("run/report.html",), "sample": ("run/samples-0",), "train": ("run",), "info": ()}[wanted[0]]
        return Case(lambda: asked(*wanted), new)

    return case


def command(seeds: Seeds, folder: Path, random: Random, spoil: bool) -> Case:
    shutil.copytree(seeds.run, folder / "run")
    (folder / "photo.png").write_bytes(seeds.files["colour.png"])
    words = command_line(random) if spoil else ["info", "digits"]
    return Case(lambda: asked(*words), ("*",))


KINDS: Mapping[str, tuple[Kind, int]] = {
    "picture in a folder": (picture_in_a_folder, 250),
    "picture to restore, or a mask": (picture_to_restore, 200),
    "array (npy, npz)": (array, 150),
    "IDX, plain and gzipped": (idx, 100),
    "Parquet": (parquet, 30),
    "a recipe's JSON": (recipe, 60),
    **{f"a run's {name}": (run_with(name), 12) for name in RUN_FILES},
    "command line": (command, 78),
}
"""Name, how to make it, and its share of a thousand inputs."""
