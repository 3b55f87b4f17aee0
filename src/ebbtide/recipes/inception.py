"""The Inception network of the literature, from torch-fidelity, with weights that cannot run code."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ebbtide.errors import EbbtideError, require

DIMENSIONS = 2048


class Inception:
    """Features are its last pool's 2048 means, probabilities those of its 1008 logits, as torch-fidelity has them.

    Szegedy et al. 2015 (arXiv:1512.00567) in the version of the TensorFlow model of 2015-12-05, which FID and IS are
    published in. weights: its file of weights; None: torch-fidelity's own, downloaded once and checked by its hash.
    """

    dimensions = DIMENSIONS
    name = "Inception (torch-fidelity, 2015-12-05, the last pool)"

    def __init__(self, weights: Path | None = None) -> None:
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3
        except ImportError as error:
            raise EbbtideError(
                f'inception needs torch-fidelity, which cannot be imported ({error}): pip install "ebbtide[inception]"'
            ) from None
        state = _read(weights if weights is not None else _download(URL_INCEPTION_V3))
        # torch-fidelity unpickles whatever its file holds; so it is given one that was read as tensors and written anew
        with tempfile.TemporaryDirectory() as folder:
            clean = Path(folder) / "inception.pth"
            torch.save(state, clean)
            try:
                self.network = FeatureExtractorInceptionV3(
                    "inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(clean)
                )
            except (RuntimeError, TypeError, AttributeError) as error:
                reason = " ".join(str(error).split())[:200]
                raise EbbtideError(f"the weights do not fit torch-fidelity's Inception: {reason}") from None

    @torch.inference_mode()
    def __call__(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """uint8 (n, height, width, 1 or 3); grey becomes colour; the network scales to 299 x 299 itself."""
        found, probabilities = [], []
        for first in range(0, len(values), 64):
            x = torch.from_numpy(np.ascontiguousarray(values[first : first + 64])).permute(0, 3, 1, 2)
            features, logits = self.network(x.expand(-1, 3, -1, -1))
            found.append(features.float().numpy())
            probabilities.append(logits.double().softmax(1).numpy())
        return np.concatenate(found), np.concatenate(probabilities)


def _read(file: Path) -> Any:
    require(file.is_file(), f"there is no file of weights {file}: give torch-fidelity's weights-inception-...pth")
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception:  # torch raises many kinds; for some it advises to load the file anyway
        raise EbbtideError(
            f"{file} cannot be read as tensors alone (whatever else it holds could run code, and is refused): give "
            "torch-fidelity's weights-inception-...pth"
        ) from None


def _download(url: str) -> Path:
    """Into torch's own cache, its name ending in the first digits of its hash."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(file), hash_prefix=file.stem.rsplit("-", 1)[-1])
        except Exception as error:
            raise EbbtideError(
                f"Inception's weights could not be downloaded ({error}): get {url} elsewhere, then --weights-file"
            ) from None
    return file
