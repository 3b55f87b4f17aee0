"""A run is a folder: its recipe, what it was trained on, its checkpoints and records. All that sampling needs is in it.

RUN/recipe.json    recipe, facts about the data, machine, format
RUN/checkpoints/   the last few, each whole
RUN/metrics.jsonl  one record a line          RUN/tensorboard/   the same for TensorBoard
RUN/start.safetensors  where sampling begins, if the corruption is a degradation
RUN/samples/       grids over training        RUN/pictures/      final grid, film strip, restored examples
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors.torch import save
from torch import nn

from ebbtide import __version__
from ebbtide.corruptions import GaussianCorruption, Start
from ebbtide.data import Dataset, ValueRange
from ebbtide.data.fingerprint import fingerprint
from ebbtide.errors import EbbtideError, require
from ebbtide.files import write_atomically
from ebbtide.json_files import read_json, shown, typed, write_json
from ebbtide.objectives import GaussianObjective, ReadObjective
from ebbtide.recipes.as_json import FORMAT, from_json, to_json
from ebbtide.recipes.build import build_network, guided, outputs_of
from ebbtide.recipes.corruptions import objective_of
from ebbtide.recipes.recipe import Recipe, SamplingRecipe
from ebbtide.tensors import read_tensors
from ebbtide.training import checkpoints
from ebbtide.training.machine import in_precision, native_bf16

Weights = Literal["average", "network"]
START = "start.safetensors"
MOST_NUMBERS = 2**28
"""In one example."""


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """What a run remembers of its data: enough to sample without it."""

    name: str
    event_shape: tuple[int, ...]
    classes: tuple[str, ...]
    examples: int
    range: tuple[float, float]
    held_out: float = 0.0
    fingerprint: str = ""
    """Of the training examples and the labels that are learned; runs of before have none."""

    @classmethod
    def of(cls, dataset: Dataset) -> DataFacts:
        """The facts of a dataset; classes only where the labels are learned."""
        classes = dataset.classes if dataset.labels is not None else ()
        limits = (dataset.range.low, dataset.range.high)
        return cls(
            name=dataset.name,
            event_shape=dataset.event_shape,
            classes=classes,
            examples=len(dataset),
            range=limits,
            held_out=dataset.held_out,
            fingerprint=fingerprint(dataset, labels=bool(classes)),
        )

    def check(self) -> None:
        """An EbbtideError if there can be no such data."""
        shape = "x".join(map(str, self.event_shape))
        fits = len(self.event_shape) in (1, 3) and all(1 <= side <= MOST_NUMBERS for side in self.event_shape)
        require(fits and prod(self.event_shape) <= MOST_NUMBERS, f"data.event_shape is {shape or 'empty'}")
        require(not self.is_image or self.event_shape[0] in (1, 3), f"data.event_shape is {shape}: 1 or 3 channels")
        require(self.examples >= 1, f"data.examples is {self.examples}")
        low, high = self.range
        require(low < high or not self.is_image, f"data.range is {low:g} to {high:g}: from black to white")

    @property
    def is_image(self) -> bool:
        return len(self.event_shape) == 3

    @property
    def limits(self) -> tuple[float, float] | None:
        """What black and white are; None for points."""
        return self.range if self.is_image else None

    @property
    def value_range(self) -> ValueRange:
        """What the bytes of images became."""
        return ValueRange(low=self.range[0], high=self.range[1])


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run's folder, read."""

    path: Path
    recipe: Recipe
    data: DataFacts
    machine: Mapping[str, Any]

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def pictures(self) -> Path:
        return self.path / "pictures"

    def write(self) -> None:
        """Create the folder, or bring its recipe.json up to date."""
        content = {
            "format": FORMAT,
            "ebbtide": __version__,
            "recipe": to_json(self.recipe),
            "data": asdict(self.data),
            "machine": dict(self.machine),
        }
        write_json(self.path / "recipe.json", content, indent=2)

    def network(self) -> nn.Module:
        """The network with its first weights."""
        recipe, data = self.recipe, self.data
        outputs = outputs_of(recipe.objective)
        return build_network(recipe.network, data.event_shape, len(data.classes), recipe.training.seed, outputs)

    def denoiser(self, device: torch.device | str = "cpu", weights: Weights = "average", *, finite: bool = True) -> Any:
        """The newest checkpoint as a denoiser, ready to sample from. finite: weights that are NaN are refused."""
        checkpoint = checkpoints.load(checkpoints.latest(self.checkpoints), (weights,))
        network = self.network()
        checkpoints.load_weights(network, checkpoint, weights, finite)
        return self.wrap(network.to(device).eval())

    def wrap(self, network: nn.Module) -> Any:
        """A network read as the recipe trains it, with what the recipe wraps around it for sampling."""
        return self.read(in_precision(network, self.precision_on(next(network.parameters()).device.type)))

    def read(self, answer: Callable[..., torch.Tensor]) -> Any:
        """The same of any answer(xt, t, condition)."""
        objective = self.objective()
        denoiser = objective.denoiser(answer)
        if not isinstance(objective.corruption, GaussianCorruption):
            return denoiser
        return guided(denoiser, self.recipe.sampling, self.limits)

    def precision_on(self, device: str) -> Literal["fp32", "bf16"]:
        """What it is sampled in: what it was trained in, unless that was bf16 by choice and is not fast there."""
        wanted = self.recipe.training.precision
        if wanted != "auto":
            return wanted
        return "bf16" if self.machine.get("precision", "bf16") == "bf16" and native_bf16(device) else "fp32"

    @property
    def limits(self) -> tuple[float, float] | None:
        """What black and white are; None for points."""
        return self.data.limits

    def objective(self) -> ReadObjective:
        """What the run minimises."""
        return objective_of(self.recipe, self.data.event_shape, self.limits, self.start())

    def gaussian_objective(self) -> GaussianObjective:
        """The same, for what only Gaussian noise has: bits, levels of noise, races of its samplers."""
        objective = self.objective()
        require(
            isinstance(objective.corruption, GaussianCorruption),
            f"{self.path} learned to undo {self.recipe.corruption.name}, which has no levels of noise: this needs a "
            "run on Gaussian noise",
        )
        return cast(GaussianObjective, objective)

    def start(self) -> Start | None:
        """Where sampling begins, as it was fitted when training began; None if nothing had to be."""
        file = self.path / START
        if not file.is_file():
            return None
        try:
            return Start.of(read_tensors(file)[0], prod(self.data.event_shape))
        except EbbtideError as error:
            raise EbbtideError(
                f"{file} is damaged ({error}): restore it, or delete it and go on with `ebbtide train {self.path} "
                "--resume`, which fits it again"
            ) from None

    def write_start(self, start: Start) -> None:
        """Keep where sampling begins."""
        write_atomically(self.path / START, save(start.tensors()))

    def to_bytes(self, x: torch.Tensor) -> torch.Tensor:
        """Samples (n, channels, height, width) as uint8 images (n, height, width, channels)."""
        return self.data.value_range.decode(x.cpu()).permute(0, 2, 3, 1).contiguous()


def open_run(path: Path) -> Run:
    """Read a run's folder; one clear error if it is none, or of another format."""
    require(path.exists(), f"there is no run {path}: train one with `ebbtide train PRESET --out {path}`")
    file = path / "recipe.json"
    require(file.is_file(), f"{path} is no run: it has no recipe.json (runs are folders that `ebbtide train` makes)")
    content = typed(dict[str, Any], read_json(file), str(file))
    found = content.get("format")
    require(
        found == FORMAT,
        f"{path} has format {shown(found)}, but this ebbtide reads format {FORMAT}: use the version that wrote it",
    )
    try:
        require("recipe" in content and "data" in content, "it lacks the recipe or the data")
        facts = typed(DataFacts, content["data"], "data")
        facts.check()
        machine = typed(dict[str, Any], content.get("machine", {}), "machine")
        recipe = from_json(content["recipe"])
        if "held_out" not in content["data"]:  # of a run from before anything was kept aside
            recipe = replace(recipe, data=replace(recipe.data, held_out=0.0))
        return Run(path=path, recipe=recipe, data=facts, machine=machine)
    except EbbtideError as error:
        raise EbbtideError(f"{file} is damaged: {error}. Restore it, or train again") from None


def with_sampling(run: Run, sampling: SamplingRecipe) -> Run:
    """The same run, sampled otherwise."""
    return replace(run, recipe=replace(run.recipe, sampling=sampling))


def drawn_by(run: Run, **options: Any) -> Run:
    """The same run with other fields of its sampling; another sampler has its own usual eta unless one is given."""
    sampling = run.recipe.sampling
    if options.get("sampler", sampling.sampler) != sampling.sampler:
        options = {"eta": None, **options}
    return with_sampling(run, replace(sampling, **options))
