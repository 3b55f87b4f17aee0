"""Ways to wear a picture away without noise and without a formula. Item C7 of docs/lectures.md."""

from ebbtide.degradations.blend import Animorph, Fade
from ebbtide.degradations.blur import GaussianBlur, RepeatedBlur
from ebbtide.degradations.coarse import Jpeg, Posterise
from ebbtide.degradations.compose import Composed, Custom
from ebbtide.degradations.degradation import Degradation, Drawn
from ebbtide.degradations.mask import GrowingMask
from ebbtide.degradations.motion import MotionBlur
from ebbtide.degradations.pixelate import Pixelate
from ebbtide.degradations.snow import Snow

__all__ = [
    "Animorph",
    "Composed",
    "Custom",
    "Degradation",
    "Drawn",
    "Fade",
    "GaussianBlur",
    "GrowingMask",
    "Jpeg",
    "MotionBlur",
    "Pixelate",
    "Posterise",
    "RepeatedBlur",
    "Snow",
]
