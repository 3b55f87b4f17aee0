"""What is learned from: datasets by name or path, and batches of them."""

from ebbtide.data.dataset import Batch, Dataset, ValueRange
from ebbtide.data.source import BUILT_IN, load
from ebbtide.data.toys import MIXTURE, MixtureDensity

__all__ = ["BUILT_IN", "MIXTURE", "Batch", "Dataset", "MixtureDensity", "ValueRange", "load"]
