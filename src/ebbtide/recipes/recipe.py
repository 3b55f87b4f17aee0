"""A recipe: everything that makes a run, as nested values that become JSON and back.

The docstring under each field is its help on the command line, where every field is an option: --training.batch 64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ebbtide.data.held_out import SHARE
from ebbtide.data.images import Size
from ebbtide.errors import require
from ebbtide.json_files import shown
from ebbtide.levels import KindName
from ebbtide.recipes.bounds import check_bounds
from ebbtide.training.machine import Precision

ScheduleName = Literal["normal", "cosine", "sigmoid", "linear", "lecture", "constant", "list"]
GridName = Literal["auto", "uniform", "quadratic", "log-snr", "karras", "measured"]
SamplerName = Literal[
    "dpm2m",
    "dpm3m",
    "unipc",
    "adams",
    "ddim",
    "heun",
    "midpoint",
    "dpm2s",
    "dpm3s",
    "rk4",
    "adaptive",
    "ancestral",
    "euler-maruyama",
    "sde-dpm2m",
    "sde-heun",
    "edm",
    "renoise",
    "langevin",
    "pc",
    "cold",
    "previous",
]


LONGEST_NAME = 100
"""Bytes of a recipe's name."""


@dataclass(frozen=True, kw_only=True)
class DataRecipe:
    """What is learned from."""

    source: str = "digits"
    """digits, dots, patches, swiss-roll, moons, mixture; a folder of images or IDX files; an .npy, .npz or IDX file;
    hf:NAME."""
    size: Size | None = None
    """Height and width in pixels, 32 or 32x48; None: as the data is (folders of images: 32)."""
    colour: Literal["auto", "grey", "rgb"] = "auto"
    """One channel, three, or what the data needs."""
    flip: bool = False
    """Mirror images left to right at random."""
    labels: bool = True
    """Learn the data's labels as a condition, if it has any."""
    limit: int | None = None
    """Use no more than this many examples."""
    held_out: float = SHARE
    """Share of your own pictures, arrays or IDX files to keep aside for tests where they have no test split; their
    content chooses. Of fewer than 50 examples none."""
    low: float | None = None
    """What black becomes; None: such that the data's pixels have mean 0 and variance 1 (high: None too)."""
    high: float | None = None
    """What white becomes."""


@dataclass(frozen=True, kw_only=True)
class CorruptionRecipe:
    """How data are worn away."""

    name: str = "gaussian"
    """gaussian, by the schedule; naive, naive-pixelwise: pixels set at random; blur, pixelate, inpaint, snow, animorph,
    fade, motion-blur, posterise, jpeg: degradations without noise, which can be joined (blur+snow)."""
    steps: int = 100
    """naive: T."""
    share: float = 0.05
    """naive: the share of all pixels that each step sets to black or white."""
    by: Literal["pixel", "channel"] = "pixel"
    """naive, naive-pixelwise: whether a step hits pixels or, in colour, each channel on its own."""
    other: str = ""
    """animorph: the pictures that the data turn into, a source as for data; if none is named, patches."""


@dataclass(frozen=True, kw_only=True)
class ScheduleRecipe:
    """How noise grows from t = 0 to t = 1."""

    name: ScheduleName = "normal"
    """normal, cosine, sigmoid: any t. linear (Ho et al.), lecture (TTIC 31230), constant, list: tables of T steps."""
    steps: int | None = None
    """T of a table. None: normal, cosine, sigmoid in continuous time; linear, lecture 1000; constant: enough."""
    beta: float = 0.02
    """constant: the variance added at each step."""
    betas: tuple[float, ...] = ()
    """list: the variances of all steps, each between 0 and 1."""
    mean: float = 1.0
    """normal: mean of log-SNR over the draws of training (Karras et al.'s, for data of variance 1)."""
    std: float = 2.4
    """normal: its standard deviation."""


@dataclass(frozen=True, kw_only=True)
class NetworkRecipe:
    """What is trained."""

    name: Literal["auto", "unet", "hourglass", "mlp", "upside-down"] = "auto"
    """unet for images, mlp for vectors; auto chooses. hourglass: the lectures' own, told of each pixel's place.
    upside-down: for 3x3 images, widened and narrowed back."""
    patch: int = 1
    """unet: fold squares of this many pixels a side into channels first: coarser and much faster (2 from 28x28 on)."""
    channels: int = 32
    """unet: width at full resolution."""
    multipliers: tuple[int, ...] = (1, 2)
    """unet: width of each level as a multiple of channels; each level halves the resolution."""
    blocks: int = 1
    """unet: residual blocks a level on the way down (one more on the way up)."""
    lean: bool = False
    """unet: one norm a block, and channels narrow before pixels multiply: faster than Ho et al.'s."""
    attention: tuple[bool, ...] = (False, False)
    """unet: whether pixels attend to one another, for each level."""
    heads: int = 4
    """unet: attention heads."""
    width: int = 128
    """mlp: width of its layers; upside-down: of its widest, more than there are numbers in an example."""
    depth: int = 3
    """mlp: number of residual blocks; upside-down: of widenings (one fewer narrow it back, then the last layer)."""
    dropout: float = 0.0
    """Share of activations dropped in training."""


@dataclass(frozen=True, kw_only=True)
class ObjectiveRecipe:
    """What is predicted, and which error is minimised."""

    predicts: KindName = "v"
    """What the network gives: x0, the noise eps, the score, v; or, of a table's step, the previous latent or noise."""
    measured: KindName | None = None
    """The kind whose squared error is minimised; None: the one that is predicted."""
    weight: Literal["none", "bound", "min-snr"] = "none"
    """A weight on errors of x0: what they cost in the bound, or min(SNR, 5); none: all levels alike."""
    target: Literal["expected", "sampled"] = "expected"
    """previous, step_noise: compare with the mean of what led to xt, or with what was drawn (more variance)."""
    variance: Literal["fixed", "learned"] = "fixed"
    """learned: the network also says how wide each step of the decoder is."""
    error: Literal["squared", "absolute", "bernoulli"] = "squared"
    """Where the corruption is no Gaussian noise: squared, absolute (cold diffusion's), or bernoulli: a pixel's
    likelihood of white."""
    drop_labels: float = 0.1
    """The rate at which labels are withheld, so that the model also works without them."""


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """How it is trained."""

    updates: int | None = None
    """Stop after this many updates."""
    minutes: float | None = None
    """Stop after this much time; the learning rate falls to zero as it ends."""
    batch: int = 128
    """Examples an update (and process)."""
    accumulate: int = 1
    """Compute an update in this many parts, to save memory."""
    optimizer: Literal["muon", "adamw"] = "muon"
    """muon: Muon for matrices and kernels, AdamW for the rest; adamw: torch's AdamW for all."""
    rate: float = 1e-3
    """Peak learning rate."""
    weight_decay: float = 0.0
    """Weight decay (decoupled)."""
    warmup: int = 50
    """Updates over which the rate rises to its peak."""
    decay: float = 0.5
    """Last share of the run over which the rate falls to zero."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    half_life: int = 50_000
    """Half-life of the moving average of the weights, in images."""
    precision: Precision = "auto"
    """bf16 (mixed) or fp32; auto: bf16 where the machine does it in hardware."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile; auto: on a GPU. A CPU gains little and waits a minute for it the first time."""
    seed: int = 0
    """All of a run's randomness."""
    checkpoint_minutes: float = 2.0
    """Time between checkpoints; one more is made at the end and at Ctrl-C."""
    checkpoint_updates: int | None = None
    """Make a checkpoint every so many updates instead."""
    keep: int = 2
    """Checkpoints kept."""
    pictures: int = 8
    """Sample grids drawn over the run, evenly; of a budget of minutes they take a tenth at most."""


@dataclass(frozen=True, kw_only=True)
class SamplingRecipe:
    """How pictures are drawn from it unless the command says otherwise."""

    sampler: SamplerName = "dpm2m"
    """dpm2m (DPM-Solver++ 2M: few steps), ddim (any eta), ancestral (Ho et al.); `ebbtide samplers` lists them all."""
    steps: int = 10
    """Steps a sample: network evaluations for samplers that ask once a step."""
    grid: GridName = "auto"
    """Their times: uniform in t; quadratic; log-snr (even in it); karras: short steps where there is little noise;
    measured: where this network's steps err most; auto: karras in continuous time, uniform for tables."""
    eta: float | None = None
    """Noise added along the way, 0 (none) to 1; None: 0 for ddim, 1 for the stochastic ones that have an eta."""
    variance: Literal["posterior", "step", "learned"] = "posterior"
    """ancestral: one of the two fixed variances, or the one that the network has learned."""
    clip: bool = True
    """Hold estimates of an image within the data's range."""
    threshold: float | None = None
    """Dynamic thresholding: scale an estimate back until this share of its numbers lie in the data's range (0.995)."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All of it."""

    name: str = "digits"
    data: DataRecipe = DataRecipe()
    corruption: CorruptionRecipe = CorruptionRecipe()
    schedule: ScheduleRecipe = ScheduleRecipe()
    network: NetworkRecipe = NetworkRecipe()
    objective: ObjectiveRecipe = ObjectiveRecipe()
    training: TrainingRecipe = TrainingRecipe()
    sampling: SamplingRecipe = SamplingRecipe()


def check_name(name: str) -> str:
    """The name, if a folder can have it: runs/NAME lies in runs/, whatever the name."""
    fits = name.isprintable() and name.strip() == name != "" and not name.startswith(".")
    require(
        fits and not set(name) & {"/", "\\"} and len(name.encode()) <= LONGEST_NAME,
        f"the name {shown(name)} came, expected what a folder can be called, in at most {LONGEST_NAME} bytes: without "
        "slashes and not beginning with a dot",
    )
    return name


def check(recipe: Recipe) -> Recipe:
    """The recipe, if every number in it is within its bounds; else an error that names the first that is not."""
    check_name(recipe.name)
    check_bounds(recipe)
    training = recipe.training
    ends = training.updates is not None or training.minutes is not None
    require(ends, "the recipe has no end: give training.updates or training.minutes")
    lost = training.rate * training.weight_decay
    require(
        lost < 1,
        f"training.rate={training.rate:g} and weight_decay={training.weight_decay:g} came, by which each update would "
        f"take {lost:.0%} of the weights away: expected less than all",
    )
    require(
        training.batch % training.accumulate == 0,
        f"training.batch={training.batch} came, which {training.accumulate} parts do not divide",
    )
    return recipe
