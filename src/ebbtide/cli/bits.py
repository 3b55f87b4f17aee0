"""ebbtide bits: what an example costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from rich.table import Table

from ebbtide.cli.decoder import FIRST_NOISE, bound_of, reconstruction_of
from ebbtide.cli.fields import Positional
from ebbtide.cli.options import parse, screen, wrote
from ebbtide.cli.results import say_whose
from ebbtide.data.dataset import spread
from ebbtide.denoisers import Variance
from ebbtide.errors import require
from ebbtide.evaluation.bits import bits_figure, told
from ebbtide.evaluation.codes import histogram_bits, png_bits
from ebbtide.evaluation.figures import png_bytes
from ebbtide.files import write_atomically
from ebbtide.json_files import write_json
from ebbtide.likelihood.bound import Bound
from ebbtide.likelihood.reconstruction import Reconstruction
from ebbtide.recipes.bits import Asked, BitsSettings, ask, check_ode, measure_exactly, summary
from ebbtide.recipes.run import Weights, open_run
from ebbtide.training.machine import device_of


@dataclass(frozen=True)
class BitsOptions:
    """How many bits a dimension of the data costs: the bound on -log p with its parts, its standard error, and where it
    is paid. For 8-bit images it is the length of a code that could be written; for points a density, in bits.

    A schedule in continuous time is taken in its limit of many steps, a table step by step; a few stratified levels an
    example cover all of them. Writes RUN/bits.json and RUN/pictures/bits.png, which the report shows.
    """

    run: Positional[Path]
    """The run's folder."""
    data: str | None = None
    """Another source than the run's own: a folder, IDX file, array; examples must have the same shape."""
    split: Literal["train", "test"] = "test"
    """Held-out examples, or those that were learned from."""
    labels: bool = True
    """Tell the network the examples' labels, if it learned them: the bits are then those of an example given its label.
    --no-labels: of the example alone."""
    examples: int = 1000
    """How many, spread over the set."""
    levels: int = 64
    """Noise levels an example, drawn where the bound is paid."""
    chain: int | None = None
    """The bound of a chain of this many steps. None: the table's own; the limit of many in continuous time."""
    full: bool = False
    """Every step of the chain for every example, no estimate: T evaluations an example, twice."""
    variance: Variance | None = None
    """Of each step: step (beta), posterior (btilde), learned. None: learned where the run has it, else step."""
    decoder: Literal["bins", "trained"] = "bins"
    """The last step, to the 256 values of a pixel: bins of a Gaussian, or a small network that is trained for it, once
    (a minute or two)."""
    highest: float | None = None
    """The log-SNR at which the chain ends and the last step takes over. None: noise as wide as one byte for bins, as
    four for a trained decoder, which sees further."""
    ode: bool = False
    """Also the exact likelihood, by the probability-flow ODE (slow; needs the extra "ode")."""
    ode_examples: int = 16
    """For how many examples."""
    seed: int = 0
    """Levels and noise."""
    weights: Weights = "average"
    """The averaged weights, or the last ones."""
    device: str = "auto"
    """Where to compute: auto (a GPU that torch sees, else the CPU), cpu, cuda, cuda:1, mps."""


def bits(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    options = parse(BitsOptions, "bits", arguments, renamed={"--steps": "--chain"})
    require(options.ode_examples >= 1, f"--ode-examples {options.ode_examples} came, expected at least 1")
    require(options.levels >= 2, f"--levels {options.levels} came, expected at least 2")
    run = open_run(options.run)
    require(
        options.decoder == "bins" or run.data.is_image,
        f"--decoder trained came, but {run.path} was trained on points: it is for 8-bit images",
    )
    settings = BitsSettings(
        source=options.data,
        split=options.split,
        labels=options.labels,
        examples=options.examples,
        levels=options.levels,
        chain=options.chain,
        full=options.full,
        variance=options.variance,
        highest=options.highest,
        first_noise=FIRST_NOISE[options.decoder],
        seed=options.seed,
        weights=options.weights,
        device=device_of(options.device),
    )
    asked = ask(run, settings)
    say_whose(asked.data)
    if options.ode:
        check_ode(asked)
    reconstruction = reconstruction_of(asked, trained=options.decoder == "trained")
    bound = bound_of(asked, reconstruction)
    found = summary(asked, bound) | {"decoder": options.decoder if run.data.is_image else "density"}
    found["baselines"] = _baselines(asked)
    if options.ode:
        found["exact"] = _exact(asked, reconstruction, bound, options.ode_examples)
    _print(found)
    name = asked.data.name("bits")
    wrote(write_json(run.path / f"{name}.json", found | {"of": asked.data.record()}), "figures")
    wrote(write_atomically(run.pictures / f"{name}.png", png_bytes(bits_figure(found))), "picture")
    return 0


def _baselines(asked: Asked) -> dict[str, float]:
    """Codes that need no network, for the same images."""
    if not asked.run.data.is_image:
        return {}
    test = asked.examples.values
    found = {"PNG files": png_bits(test)}
    if asked.data.own:
        found = {"a histogram of each pixel": histogram_bits(asked.data.train.values, test), **found}
    return found


def _exact(asked: Asked, reconstruction: Reconstruction, bound: Bound, count: int) -> dict[str, Any]:
    """The likelihood by the ODE, and the bound of the same examples."""
    with screen.status("solving the ODE") if screen.is_terminal else _Quiet():
        parts = list(measure_exactly(asked, reconstruction, count))
    nats = torch.cat([part.nats for part in parts])
    same = torch.from_numpy(spread(len(bound), count))
    return {
        "bits": bound.in_bits(nats),
        "bound": bound.in_bits(bound.nats[same]),
        "examples": len(nats),
        "evaluations": max(part.evaluations for part in parts),
        "log_snr": parts[0].highest,
    }


def _print(found: dict[str, Any]) -> None:
    what = "images" if found["images"] else "points"
    chain = "in the limit of many steps" if found["limit"] else f"of a chain of {found['steps']:,} steps"
    screen.print(f"{found['examples']:,} {found['split']} {what} of {found['data']}, the bound {chain}")
    screen.print(f"bits a dimension, {told(found)}")
    table = Table(box=None, header_style="")
    table.add_column("")
    table.add_column("bits a dimension", justify="right")
    last = {"bins": "bins of a Gaussian", "trained": "the trained decoder", "density": "a Gaussian density"}
    names = {
        "prior": "L_T: what is left at t = 1",
        "steps": "sum of L_(t-1): all steps between",
        "reconstruction": f"L_0: the last step, {last[found['decoder']]}",
    }
    for name, words in names.items():
        table.add_row(words, f"{found['parts'][name]:.4f}")
    table.add_row("the bound", f"{found['bits']:.4f}", style="bold")
    table.add_row("  standard error, of levels and noise", f"± {found['noise_error']:.4f}")
    if found["example_error"] is not None:
        table.add_row("  standard error, of the choice of examples", f"± {found['example_error']:.4f}")
    if "exact" in found:
        exact = found["exact"]
        table.add_row(
            f"by the ODE, {exact['examples']} of them, {exact['evaluations']} evaluations", f"{exact['bits']:.4f}"
        )
        table.add_row("  the bound of the same ones", f"{exact['bound']:.4f}")
    for name, value in found["baselines"].items():
        table.add_row(f"for comparison: {name}", f"{value:.4f}")
    screen.print(table)


class _Quiet:
    """Shows nothing where the output is no terminal."""

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...
