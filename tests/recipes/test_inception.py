"""The way to torch-fidelity's Inception, with a small stand-in: bytes in three channels, and no code from files."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from ebbtide.errors import EbbtideError
from ebbtide.recipes.inception import Inception

URL = "https://example.invalid/releases/weights-inception-0123abcd.pth"
seen: list[torch.Tensor] = []
read: list[Path] = []


class StandIn(nn.Module):
    """As torch-fidelity's: whatever its file pickles is loaded; bytes come in, the features asked for go out."""

    def __init__(self, name, features_list, feature_extractor_weights_path=None, **options):
        super().__init__()
        self.features_list = features_list
        self.fc = nn.Linear(3, 5)
        read.append(Path(feature_extractor_weights_path))
        self.load_state_dict(torch.load(feature_extractor_weights_path, weights_only=False))
        self.eval()

    def forward(self, x):
        assert x.dtype == torch.uint8
        seen.append(x)
        means = x.float().mean((2, 3)) / 255
        found = {"2048": means, "logits_unbiased": means @ self.fc.weight.T, "logits": self.fc(means)}
        return tuple(found[name] for name in self.features_list)


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    package, part = ModuleType("torch_fidelity"), ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    part.FeatureExtractorInceptionV3, part.URL_INCEPTION_V3 = StandIn, URL
    package.feature_extractor_inceptionv3 = part
    monkeypatch.setitem(sys.modules, "torch_fidelity", package)
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", part)
    seen.clear()
    read.clear()


def weights():
    return {"fc.weight": torch.arange(15.0).reshape(5, 3) / 5, "fc.bias": torch.arange(5.0)}


@pytest.fixture
def file(tmp_path):
    torch.save(weights(), tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def images(count=4, channels=3):
    return np.random.default_rng(0).integers(0, 256, (count, 6, 7, channels), dtype=np.uint8)


def refused(path):
    with pytest.raises(EbbtideError) as raised:
        Inception(path)
    return str(raised.value)


def test_bytes_arrive_with_their_channels_in_order(file):
    values = images()
    features, probabilities = Inception(file)(values)
    assert torch.equal(seen[0], torch.from_numpy(values).permute(0, 3, 1, 2))
    assert features == pytest.approx(values.mean((1, 2)) / 255, rel=1e-5)
    logits = features.astype(np.float64) @ weights()["fc.weight"].numpy().T
    assert probabilities == pytest.approx(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), rel=1e-5)
    assert probabilities.sum(1) == pytest.approx(np.ones(4))


def test_grey_becomes_three_channels_that_are_the_same(file):
    values = images(channels=1)
    Inception(file)(values)
    assert seen[0].shape == (4, 3, 6, 7)
    for channel in range(3):
        assert np.array_equal(seen[0][:, channel].numpy(), values[..., 0])


def test_many_images_go_in_parts_and_come_back_in_order(file):
    values = images(150)
    features, probabilities = Inception(file)(values)
    assert sum(len(part) for part in seen) == 150
    assert max(len(part) for part in seen) < 150
    assert features == pytest.approx(values.mean((1, 2)) / 255, rel=1e-5)
    assert probabilities.shape == (150, 5)


def test_what_it_unpickles_is_a_copy_that_is_gone_afterwards(file):
    Inception(file)
    assert read[0] != file
    assert not read[0].exists()


@pytest.mark.parametrize("wrap", [lambda evil: evil, lambda evil: weights() | {"more": evil}], ids=["alone", "beside"])
def test_a_file_that_would_run_code_is_refused_and_not_run(tmp_path, wrap):
    file, witness = tmp_path / "evil.pth", tmp_path / "witness"
    torch.save(wrap(Touch(witness)), file)
    message = refused(file)
    assert str(file) in message
    assert "could run code" in message
    assert "weights_only" not in message
    assert "\n" not in message
    assert not witness.exists()
    assert read == []
    torch.load(file, weights_only=False)  # what the stand-in would have done with it
    assert witness.exists()


@pytest.mark.parametrize(
    "state",
    [
        {"fc.weight": torch.zeros(5, 4), "fc.bias": torch.zeros(5)},
        {"fc.weight": torch.zeros(5, 3)},
        weights() | {"more": torch.zeros(1)},
        torch.zeros(3),
        [torch.zeros(3)],
        {"fc.weight": 3, "fc.bias": 4},
    ],
    ids=["another shape", "one is missing", "one too many", "a tensor", "a list", "numbers"],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, state):
    torch.save(state, tmp_path / "other.pth")
    message = refused(tmp_path / "other.pth")
    assert "do not fit" in message
    assert "\n" not in message


def test_what_is_no_file_of_weights_is_refused(tmp_path):
    assert "there is no file of weights" in refused(tmp_path / "nowhere.pth")
    assert "there is no file of weights" in refused(tmp_path)
    (tmp_path / "text.pth").write_text("not tensors")
    assert "text.pth cannot be read as tensors" in refused(tmp_path / "text.pth")


@pytest.mark.parametrize("whole", [True, False])
def test_without_the_package_it_says_what_to_install(file, monkeypatch, whole):
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    if whole:
        monkeypatch.delitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3")
        monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    assert 'pip install "ebbtide[inception]"' in refused(file)


# --- its own weights --------------------------------------------------------------------------------------------------


def test_without_a_file_its_own_is_downloaded_once_and_checked(tmp_path, monkeypatch):
    asked = []

    def download(url, target, hash_prefix=None, **options):
        asked.append((url, hash_prefix))
        torch.save(weights(), target)

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    one, two = (Inception()(images())[0] for _ in range(2))
    assert asked == [(URL, "0123abcd")]
    assert np.array_equal(one, two)
    assert [path.name for path in (tmp_path / "hub").rglob("*.pth")] == [URL.rsplit("/", 1)[-1]]


def test_where_nothing_can_be_downloaded_it_says_what_to_do(tmp_path, monkeypatch):
    def offline(*arguments, **options):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    message = refused(None)
    for words in ("Network is unreachable", URL, "--weights-file"):
        assert words in message
