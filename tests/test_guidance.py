"""Wrappers change what is believed and stay denoisers."""

import pytest
import torch

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import (
    FiniteOracle,
    GaussianDenoiser,
    GaussianEstimate,
    GaussianOracle,
    VarianceDenoiser,
    VarianceEstimate,
    decode,
)
from ebbtide.errors import EbbtideError
from ebbtide.grids import uniform_grid
from ebbtide.guidance import Clipped, Inpainted, Thresholded, Watched, bare
from ebbtide.samplers import Ddim, EulerMaruyama, Langevin, Multistep, PredictorCorrector, final, generate
from parts import COSINE, noise

CORRUPTION = GaussianCorruption(COSINE)
ORACLE = GaussianOracle(torch.zeros(2, dtype=torch.float64), 4 * torch.eye(2, dtype=torch.float64), CORRUPTION)
XT, T = 3 * noise(8, 2), torch.linspace(0.05, 1, 8, dtype=torch.float64)


def test_the_clipped_estimate_is_the_nearest_point_of_the_range():
    plain, clipped = ORACLE(XT, T), Clipped(ORACLE, -0.5, 1.0)(XT, T)
    assert plain.x0.max() > 1
    assert plain.x0.min() < -0.5
    assert torch.equal(clipped.x0, plain.x0.clip(-0.5, 1.0))


def test_eps_follows_from_the_clipped_data():
    clipped = Clipped(ORACLE)(XT, T)
    assert torch.allclose(clipped.level.mix(clipped.x0, clipped.eps), XT, rtol=1e-10, atol=1e-11)
    sigma = clipped.level.sigma[:, None]
    assert torch.allclose(clipped.score, -clipped.eps / sigma, rtol=1e-10)


def test_clipping_data_within_the_range_changes_nothing():
    points = noise(5, 2, seed=2).clip(-1, 1)
    oracle = FiniteOracle(points, CORRUPTION)
    assert torch.equal(Clipped(oracle)(XT, T).x0, oracle(XT, T).x0)


def test_a_wrapped_denoiser_is_one_and_clipping_twice_is_clipping_once():
    once = Clipped(ORACLE)
    assert isinstance(once, GaussianDenoiser)
    assert once.corruption is CORRUPTION
    assert torch.equal(Clipped(once)(XT, T).eps, once(XT, T).eps)


def test_a_clipped_estimate_still_says_where_the_variance_lies():
    answer = noise(8, 4, seed=3)
    plain = VarianceDenoiser(lambda x, t, condition: answer, CORRUPTION)(XT, T)
    clipped = Clipped(VarianceDenoiser(lambda x, t, condition: answer, CORRUPTION))(XT, T)
    assert isinstance(clipped, VarianceEstimate)
    assert torch.equal(clipped.share, plain.share)
    assert torch.equal(clipped.x0, plain.x0.clip(-1, 1))
    assert not torch.equal(clipped.x0, plain.x0)
    s, t = CORRUPTION.level(T / 2), CORRUPTION.level(T)
    assert torch.equal(decode(clipped, s, t, "learned").variances, decode(plain, s, t, "learned").variances)


def test_dynamic_thresholding_scales_back_what_lies_beyond_the_range_and_leaves_the_rest():
    class Fixed:
        corruption = CORRUPTION

        def __init__(self, x0):
            self.x0 = x0

        def __call__(self, xt, t, condition=None):
            return GaussianEstimate(xt, CORRUPTION.level(t), "x0", self.x0)

    inside = noise(8, 50, seed=3).clip(-1, 1)
    assert torch.allclose(Thresholded(Fixed(inside))(noise(8, 50), T).x0, inside)
    wide = 4 * noise(8, 50, seed=4)
    found = Thresholded(Fixed(wide), share=0.9)(noise(8, 50), T).x0
    assert found.abs().max() <= 1 + 1e-6
    bound = wide.float().abs().quantile(0.9, dim=1, keepdim=True).double()
    assert torch.allclose(found, wide.clip(-bound, bound) / bound, atol=1e-6)
    shifted = Thresholded(Fixed(wide + 5), low=4.0, high=6.0, share=0.9)(noise(8, 50), T).x0
    assert torch.allclose(shifted, found + 5, atol=1e-5)
    with pytest.raises(EbbtideError, match="share=0"):
        Thresholded(Fixed(wide), share=0.0)


INPAINTERS = {
    "ddim": Ddim(),
    "dpm3m": Multistep(3),
    "ancestral": Ddim(eta=1.0),
    "reverse SDE": EulerMaruyama(),
    "corrected": PredictorCorrector(Ddim(), Langevin(steps=10, ratio=0.3)),
}


def test_known_numbers_come_back_exactly_and_the_more_a_sampler_mixes_the_better_the_rest_follows():
    """Of a Gaussian with correlation 0.95, told that the first number is 2, the second has mean 1.9."""
    matrix = torch.tensor([[1.0, 0.95], [0.95, 1.0]], dtype=torch.float64)
    oracle = GaussianOracle(torch.zeros(2, dtype=torch.float64), matrix, CORRUPTION)
    known, mask = torch.tensor([2.0, 0.0]).double(), torch.tensor([1.0, 0.0]).double()
    painted, off = Inpainted(oracle, known, mask), {}
    for name, sampler in INPAINTERS.items():
        found = final(generate(painted, sampler, uniform_grid(COSINE, 60), (2,), range(400), seed=0))
        assert torch.equal(found[:, 0], torch.full((400,), 2.0, dtype=found.dtype))
        off[name] = abs(float(found[:, 1].mean()) - 1.9)
    assert off["corrected"] < 0.15 < off["ancestral"] < 0.8 * off["ddim"]
    assert off["reverse SDE"] < 0.8 * off["dpm3m"]


def test_a_watch_sees_every_estimate_and_changes_nothing():
    seen = []
    watched = Watched(ORACLE, lambda xt, t, estimate: seen.append((float(t[0]), estimate.x0)))
    grid = uniform_grid(COSINE, 5)
    found = final(generate(watched, Ddim(), grid, (2,), range(3), seed=1))
    assert torch.equal(found, final(generate(ORACLE, Ddim(), grid, (2,), range(3), seed=1)))
    assert [t for t, _ in seen] == grid[:-1].tolist()


def test_bare_takes_off_what_holds_estimates_in_the_range_and_nothing_else():
    assert bare(Clipped(Thresholded(ORACLE))) is ORACLE
    watched = Watched(ORACLE, lambda *_: None)
    assert bare(watched) is watched
    for wrapper in (Thresholded(ORACLE), Inpainted(ORACLE, XT[0], XT[0]), watched):
        assert isinstance(wrapper, GaussianDenoiser)
