"""A recipe: everything that makes a run, as nested values that become JSON and back.

The docstring under each field is its help on the command line, where every field is an option: --training.batch 64.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from ebbtide.errors import EbbtideError, near_misses, require
from ebbtide.levels import KindName
from ebbtide.training.machine import Precision

FORMAT = 1
"""Version of the JSON layout; another one is refused."""

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
]


@dataclass(frozen=True, kw_only=True)
class DataRecipe:
    """What is learned from."""

    source: str = "digits"
    """digits, dots, swiss-roll, moons, mixture; a folder of images or IDX files; an .npy, .npz or IDX file; hf:NAME."""
    size: int | None = None
    """Height and width in pixels; None: as the data is (folders of images: 32)."""
    colour: Literal["auto", "grey", "rgb"] = "auto"
    """One channel, three, or what the data needs."""
    flip: bool = False
    """Mirror images left to right at random."""
    labels: bool = True
    """Learn the data's labels as a condition, if it has any."""
    limit: int | None = None
    """Use no more than this many examples."""
    low: float | None = None
    """What black becomes; None: such that the data's pixels have mean 0 and variance 1 (high: None too)."""
    high: float | None = None
    """What white becomes."""


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

    name: Literal["auto", "unet", "mlp", "upside-down"] = "auto"
    """unet for images, mlp for vectors; auto chooses. upside-down: for 3x3 images, widened and narrowed back."""
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
    drop_labels: float = 0.1
    """The rate at which labels are withheld, so that the model also works without them."""


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """How it is trained."""

    steps: int | None = None
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
    checkpoint_steps: int | None = None
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
    schedule: ScheduleRecipe = ScheduleRecipe()
    network: NetworkRecipe = NetworkRecipe()
    objective: ObjectiveRecipe = ObjectiveRecipe()
    training: TrainingRecipe = TrainingRecipe()
    sampling: SamplingRecipe = SamplingRecipe()


def check(recipe: Recipe) -> Recipe:
    """The recipe, if every number in it is within its bounds; else an error that names the first that is not."""
    training = recipe.training
    ends = training.steps is not None or training.minutes is not None
    require(ends, "the recipe has no end: give training.steps or training.minutes")
    for name, value, least in (
        ("training.steps", training.steps, 1),
        ("training.batch", training.batch, 1),
        ("training.accumulate", training.accumulate, 1),
        ("training.keep", training.keep, 1),
        ("training.warmup", training.warmup, 0),
        ("training.pictures", training.pictures, 0),
        ("training.checkpoint_steps", training.checkpoint_steps, 1),
        ("training.half_life", training.half_life, 0),
        ("training.weight_decay", training.weight_decay, 0),
        ("training.seed", training.seed, 0),
        ("sampling.steps", recipe.sampling.steps, 1),
        ("schedule.steps", recipe.schedule.steps, 1),
        ("network.patch", recipe.network.patch, 1),
        ("network.channels", recipe.network.channels, 4),
        ("network.blocks", recipe.network.blocks, 1),
        ("network.heads", recipe.network.heads, 1),
        ("network.multipliers", min(recipe.network.multipliers, default=1), 1),
        ("network.width", recipe.network.width, 2),
        ("network.depth", recipe.network.depth, 1),
        ("data.size", recipe.data.size, 1),
        ("data.limit", recipe.data.limit, 1),
    ):
        require(value is None or value >= least, f"{name}={value} came, expected at least {least}")
    for name, number in (
        ("training.minutes", training.minutes),
        ("training.rate", training.rate),
        ("training.clip", training.clip),
        ("training.checkpoint_minutes", training.checkpoint_minutes),
    ):
        require(number is None or 0 < number < float("inf"), f"{name}={number} came, expected more than 0")
    for name, share in (
        ("objective.drop_labels", recipe.objective.drop_labels),
        ("training.decay", training.decay),
        ("sampling.eta", recipe.sampling.eta),
        ("sampling.threshold", recipe.sampling.threshold),
    ):
        require(share is None or 0 <= share <= 1, f"{name}={share} came, expected a number from 0 to 1")
    dropout = recipe.network.dropout
    require(0 <= dropout < 1, f"network.dropout={dropout} came, expected at least 0 and less than 1")
    require(
        training.batch % training.accumulate == 0,
        f"training.batch={training.batch} came, which {training.accumulate} parts do not divide",
    )
    return recipe


def to_json(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain JSON."""
    return asdict(recipe)


def from_json(value: Any) -> Recipe:
    """The recipe back; unknown fields, wrong types and unknown words are refused by name."""
    result = _read(Recipe, value, "recipe")
    assert isinstance(result, Recipe)
    return check(result)


def read_recipe(path: Path) -> Recipe:
    """A recipe from a JSON file: the recipe itself, or a run's recipe.json."""
    try:
        value = json.loads(path.read_text())
    except OSError as error:
        raise EbbtideError(f"recipe {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise EbbtideError(f"recipe {path} is no JSON: {error}") from None
    if isinstance(value, dict) and "recipe" in value:
        require(value.get("format") == FORMAT, f"{path} has format {value.get('format')!r}, expected {FORMAT}")
        value = value["recipe"]
    return from_json(value)


def _read(kind: Any, value: Any, where: str) -> Any:
    if is_dataclass(kind):
        require(isinstance(value, dict), f"{where} is {value!r}, expected an object with fields")
        hints = get_type_hints(kind)
        known = [field.name for field in fields(kind)]
        for name in value:
            require(name in known, f"{where} has no field {name!r}.{near_misses(name, known)}")
        made: Any = kind
        return made(**{name: _read(hints[name], value[name], f"{where}.{name}") for name in known if name in value})
    options = get_args(kind)
    if options and any(option is type(None) for option in options):  # X | None
        if value is None:
            return None
        rest = [option for option in options if option is not type(None)]
        return _read(rest[0], value, where)
    if options and all(isinstance(option, str) for option in options):  # Literal
        require(value in options, f"{where} is {value!r}, expected one of {', '.join(options)}")
        return value
    if options and options[-1] is Ellipsis:  # tuple[X, ...]
        require(isinstance(value, list | tuple), f"{where} is {value!r}, expected a list")
        return tuple(_read(options[0], item, where) for item in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    fits = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
    require(fits, f"{where} is {value!r}, expected {kind.__name__}")
    return value
