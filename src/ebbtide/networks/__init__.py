"""Networks: torch only. A network is network(x, t, condition) -> tensor like x; it never meets a schedule."""

from ebbtide.networks.mlp import Mlp
from ebbtide.networks.unet import UNet

__all__ = ["Mlp", "UNet"]
