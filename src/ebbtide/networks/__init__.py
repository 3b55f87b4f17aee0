"""Networks: torch only. A network is network(x, t, condition) -> tensor like x; it never meets a schedule."""

from ebbtide.networks.classifier import Classifier
from ebbtide.networks.hourglass import Hourglass
from ebbtide.networks.mlp import Mlp
from ebbtide.networks.pixels import PixelDecoder
from ebbtide.networks.unet import UNet
from ebbtide.networks.upside_down import UpsideDown

__all__ = ["Classifier", "Hourglass", "Mlp", "PixelDecoder", "UNet", "UpsideDown"]
