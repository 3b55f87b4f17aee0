"""A residual multilayer perceptron for vectors: points in the plane and other small data."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ebbtide.conditions import Condition
from ebbtide.errors import require
from ebbtide.networks.layers import Embedding, zeroed


class Mlp(nn.Module):
    """Vectors in, vectors of the same length out: `depth` residual blocks of the given width, told time and label.

    outputs: the answer is this many times as long as x.
    """

    def __init__(
        self,
        size: int,
        *,
        width: int = 128,
        depth: int = 3,
        dropout: float = 0.0,
        classes: int = 0,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        require(width >= 2 and depth >= 1, f"width={width}, depth={depth} came, expected at least 2 and 1")
        require(0 <= dropout < 1, f"dropout={dropout} came, expected at least 0 and less than 1")
        require(outputs >= 1, f"outputs={outputs} came, expected at least 1")
        self.embedding = Embedding(width, width, classes)
        self.first = nn.Linear(size, width)
        self.blocks = nn.ModuleList(_Block(width, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.last = zeroed(nn.Linear(width, outputs * size))

    def forward(
        self, x: Float[Tensor, "batch d"], t: Float[Tensor, " batch"], condition: Condition
    ) -> Float[Tensor, "batch answer"]:
        embedding = self.embedding(t, condition)
        h = self.first(x)
        for block in self.blocks:
            h = block(h, embedding)
        return self.last(F.silu(self.norm(h)))


class _Block(nn.Module):
    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 2 * width)
        self.embed = nn.Linear(width, 2 * width)
        self.dropout = nn.Dropout(dropout)
        self.narrow = zeroed(nn.Linear(2 * width, width))

    def forward(
        self, x: Float[Tensor, "batch width"], embedding: Float[Tensor, "batch width"]
    ) -> Float[Tensor, "batch width"]:
        h = self.widen(self.norm(x)) + self.embed(F.silu(embedding))
        return x + self.narrow(self.dropout(F.silu(h)))
