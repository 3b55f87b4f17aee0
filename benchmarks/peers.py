"""What users would pick instead: two well-known libraries, used as their own examples use them.

`diffusers` comes with ebbtide's development dependencies. `denoising_diffusion_pytorch` wants torchvision, which does
not fit this torch. Only its network and its loss are used: `make peers` installs it alone, and empty modules stand in.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def usual_network(size: int, channels: int = 1) -> nn.Module:
    """diffusers' UNet2DModel as tutorials build it for small pictures: 64, 128, 128 channels, 6.5 M parameters."""
    from diffusers import UNet2DModel

    made: Any = UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        layers_per_block=2,
        block_out_channels=(64, 128, 128),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    )
    return made


def small_network(size: int, channels: int = 1) -> nn.Module:
    """A UNet2DModel with the widths of ebbtide's small U-Net, for loops to be compared on."""
    from diffusers import UNet2DModel

    made: Any = UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        layers_per_block=1,
        block_out_channels=(48, 96),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=12,
        add_attention=False,
    )
    return made


@dataclass
class DiffusersLoop:
    """The training loop of diffusers' tutorials: DDPMScheduler, AdamW, clipping, EMAModel; fp32 or bf16 autocast."""

    network: nn.Module
    bf16: bool = False
    rate: float = 1e-4

    def __post_init__(self) -> None:
        from diffusers import DDPMScheduler
        from diffusers.training_utils import EMAModel

        self.network.train()
        self.scheduler = DDPMScheduler(num_train_timesteps=1000)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=self.rate)
        self.average = EMAModel(self.network.parameters(), decay=0.9999, use_ema_warmup=True, power=0.75)

    def update(self, x0: Tensor) -> float:
        """One update with these images; the loss."""
        noise = torch.randn_like(x0)
        times = torch.randint(0, 1000, (len(x0),))
        xt = self.scheduler.add_noise(x0, noise, times)  # type: ignore[arg-type]
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            loss = F.mse_loss(self.network(xt, times, return_dict=False)[0].float(), noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.step(self.network.parameters())
        return float(loss.detach())


def lucidrains_update(size: int, channels: int = 1, rate: float = 8e-5) -> Callable[[Tensor], float]:
    """An update of denoising_diffusion_pytorch's Trainer (Unet of dim 64, GaussianDiffusion, Adam, EMA), fp32."""
    if find_spec("denoising_diffusion_pytorch") is None:
        raise SystemExit("denoising_diffusion_pytorch is not installed: run `make peers` first")
    _stand_in("torchvision", "torchvision.transforms", "torchvision.utils")
    _stand_in("pytorch_fid", "pytorch_fid.fid_score", "pytorch_fid.inception")
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet
    from ema_pytorch import EMA

    diffusion = GaussianDiffusion(
        Unet(dim=64, dim_mults=(1, 2, 4), channels=channels), image_size=size, timesteps=1000, auto_normalize=False
    )
    optimizer = torch.optim.Adam(diffusion.parameters(), lr=rate, betas=(0.9, 0.99))
    average = EMA(diffusion, beta=0.995, update_every=10)

    def update(x0: Tensor) -> float:
        loss = diffusion(x0)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(diffusion.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update()
        return float(loss.detach())

    return update


def _stand_in(*names: str) -> None:
    """Empty modules for what a peer imports and its network and loss never use; the real ones where they are there."""
    if find_spec(names[0]) is not None:
        return
    for name in names:
        module: Any = types.ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        module.__getattr__ = lambda _attribute: None
        sys.modules[name] = module
