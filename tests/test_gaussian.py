"""Items A1-A5: Gaussians against sampled moments, matrix algebra, torch.distributions and quadrature."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from ebbtide.errors import EbbtideError
from ebbtide.gaussian import Diagonal, Full, Gaussian, Spherical, kl, square_root, standard_normal
from parts import SIGMAS, covariance, noise, seeded

MEAN = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
FORMS = {
    "spherical": Spherical(torch.tensor(0.7, dtype=torch.float64)),
    "diagonal": Diagonal(torch.tensor([0.3, 2.0, 0.0], dtype=torch.float64)),
    "full": Full(covariance(3)),
    "rank 2": Full(covariance(3, 2)),
    "rank 1": Full(covariance(3, 1)),
    "rank 0": Full(covariance(3, 0)),
}
MATRICES = {
    "spherical": 0.7 * torch.eye(3, dtype=torch.float64),
    "diagonal": torch.diag(torch.tensor([0.3, 2.0, 0.0], dtype=torch.float64)),
    **{name: FORMS[name].matrix for name in FORMS if name not in ("spherical", "diagonal")},
}
DRAWS = 40_000


def gaussian(form, mean=MEAN):
    return Gaussian(mean, FORMS[form])


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


def draws(law, seed=0, count=DRAWS):
    wide = law.mean.expand(count, *law.mean.shape)
    cov = law.covariance
    if isinstance(cov, Spherical):
        cov = Spherical(cov.variance.expand(count))
    return Gaussian(wide, cov, law.event_dims).sample(seeded(seed))


def matrix_of(law):
    """The covariance of a law over vectors, from its variances or its matrix."""
    if isinstance(law.covariance, Full):
        return law.covariance.matrix
    return torch.diag(law.variances.expand_as(law.mean))


def agree_with_moments(samples, mean, matrix):
    """Sample mean and covariance lie within SIGMAS standard errors of the given ones."""
    count = len(samples)
    variances = matrix.diagonal()
    mean_error = (variances / count).sqrt()
    matrix_error = ((variances[:, None] * variances + matrix.square()) / count).sqrt()
    assert ((samples.mean(0) - mean).abs() <= SIGMAS * mean_error + 1e-12).all()
    assert ((samples.mT.cov() - matrix).abs() <= SIGMAS * matrix_error + 1e-12).all()


@pytest.mark.parametrize("form", FORMS)
def test_samples_have_the_mean_and_covariance_that_name_the_gaussian(form):
    agree_with_moments(draws(gaussian(form)), MEAN, MATRICES[form])


@pytest.mark.parametrize("form", FORMS)
def test_an_affine_map_of_samples_has_the_law_of_affine(form):
    matrix, shift = noise(2, 3, seed=3), vector(0.3, -4.0)
    law = gaussian(form).affine(matrix, shift)
    assert torch.allclose(law.mean, matrix @ MEAN + shift, rtol=1e-13)
    assert torch.allclose(matrix_of(law), matrix @ MATRICES[form] @ matrix.mT, rtol=1e-12, atol=1e-13)
    agree_with_moments(draws(gaussian(form)) @ matrix.mT + shift, law.mean, matrix_of(law))


@pytest.mark.parametrize("form", FORMS)
def test_scaling_is_the_affine_map_by_a_multiple_of_the_identity(form):
    scaled = gaussian(form).scaled(-1.7, 0.4)
    mapped = gaussian(form).affine(-1.7 * torch.eye(3, dtype=torch.float64), 0.4)
    assert torch.allclose(scaled.mean, mapped.mean, rtol=1e-13)
    assert torch.allclose(matrix_of(scaled), matrix_of(mapped), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("second", FORMS)
@pytest.mark.parametrize("first", FORMS)
def test_means_and_covariances_of_independent_gaussians_add(first, second):
    total = gaussian(first) + gaussian(second, vector(3, 3, 3))
    assert torch.allclose(total.mean, MEAN + 3)
    assert torch.allclose(matrix_of(total), MATRICES[first] + MATRICES[second], rtol=1e-13)


@pytest.mark.parametrize(("first", "second"), [("rank 1", "full"), ("spherical", "diagonal"), ("diagonal", "rank 2")])
def test_sums_of_samples_have_the_law_of_the_sum(first, second):
    total = gaussian(first) + gaussian(second)
    agree_with_moments(draws(gaussian(first), 1) + draws(gaussian(second), 2), total.mean, matrix_of(total))


@pytest.mark.parametrize("second", FORMS)
@pytest.mark.parametrize("first", FORMS)
def test_a_chain_is_a_scaled_gaussian_plus_independent_noise(first, second):
    chained = gaussian(first).then(0.6, FORMS[second], 2.0)
    assert torch.allclose(chained.mean, 0.6 * MEAN + 2)
    assert torch.allclose(matrix_of(chained), 0.36 * MATRICES[first] + MATRICES[second], rtol=1e-13)


def test_samples_drawn_around_samples_have_the_law_of_the_chain():
    first = draws(gaussian("rank 2"), 1)
    around = Gaussian(0.6 * first + 2, FORMS["diagonal"]).sample(seeded(2))
    law = gaussian("rank 2").then(0.6, FORMS["diagonal"], 2.0)
    agree_with_moments(around, law.mean, matrix_of(law))


@pytest.mark.parametrize("rank", range(5))
def test_square_roots_of_singular_matrices_are_square_and_multiply_back(rank):
    matrices = torch.stack([covariance(4, rank, seed) for seed in range(5)])
    root = square_root(matrices)
    assert root.shape == matrices.shape
    assert torch.allclose(root @ root.mT, matrices, rtol=0, atol=1e-12)


def same_in_all_forms(variance=0.7, mean=MEAN):
    one = torch.tensor(variance, dtype=torch.float64)
    return [
        Gaussian(mean, Spherical(one)),
        Gaussian(mean, Diagonal(one.expand(3))),
        Gaussian(mean, Full(one * torch.eye(3, dtype=torch.float64))),
    ]


def test_the_three_forms_of_one_gaussian_agree():
    x, other = noise(7, 3), same_in_all_forms(1.9, vector(0, 1, 0))
    laws = same_in_all_forms()
    for law in laws[1:]:
        assert torch.allclose(law.log_prob(x), laws[0].log_prob(x), rtol=1e-13)
        assert torch.allclose(law.expected_squared_distance(x), laws[0].expected_squared_distance(x), rtol=1e-13)
        assert torch.allclose(law.of_noise(x).sub(MEAN).norm(), laws[0].of_noise(x).sub(MEAN).norm(), rtol=1e-13)
    divergences = torch.stack([kl(q, p) for q in laws for p in other])
    assert torch.allclose(divergences, divergences[:1], rtol=1e-12)


def test_forms_agree_for_batches_of_images_too():
    mean, variance, x = noise(5, 2, 3, 4), noise(5, seed=1).exp(), noise(5, 2, 3, 4, seed=2)
    spherical = Gaussian(mean, Spherical(variance), 3)
    diagonal = Gaussian(mean, Diagonal(variance.reshape(5, 1, 1, 1).expand_as(mean)), 3)
    flat = Gaussian(mean.flatten(1), Full(torch.diag_embed(variance.unsqueeze(1).expand(5, 24))))
    p = standard_normal(mean, 3)
    for law, at in ((diagonal, x), (flat, x.flatten(1))):
        assert torch.allclose(law.log_prob(at), spherical.log_prob(x), rtol=1e-12)
        assert torch.allclose(law.expected_squared_distance(at), spherical.expected_squared_distance(x), rtol=1e-12)
    assert torch.allclose(kl(diagonal, p), kl(spherical, p), rtol=1e-12)
    assert torch.allclose(kl(flat, standard_normal(mean.flatten(1))), kl(spherical, p), rtol=1e-12)
    scale = noise(5, seed=4)
    assert torch.allclose(diagonal.scaled(scale).variances, spherical.scaled(scale).variances.expand_as(mean))
    assert torch.allclose(flat.scaled(scale).variances, spherical.scaled(scale).variances.expand_as(mean).flatten(1))


def test_log_densities_agree_with_torch():
    x, variances = noise(9, 3), vector(0.3, 2.0, 1e-4)
    matrix = covariance(3)
    assert torch.allclose(
        Gaussian(MEAN, Full(matrix)).log_prob(x), MultivariateNormal(MEAN, matrix).log_prob(x), rtol=1e-10
    )
    normal = Independent(Normal(MEAN, variances.sqrt()), 1)
    assert torch.allclose(Gaussian(MEAN, Diagonal(variances)).log_prob(x), normal.log_prob(x), rtol=1e-12)


def test_divergences_agree_with_torch():
    q, p = covariance(3, seed=1), covariance(3, seed=2)
    far = vector(3, 0, -1)
    ours = kl(Gaussian(MEAN, Full(q)), Gaussian(far, Full(p)))
    theirs = kl_divergence(MultivariateNormal(MEAN, q), MultivariateNormal(far, p))
    assert torch.allclose(ours, theirs, rtol=1e-10)
    a, b = vector(0.1, 2, 1e3), vector(5, 0.2, 1e-2)
    ours = kl(Gaussian(MEAN, Diagonal(a)), Gaussian(far, Diagonal(b)))
    theirs = kl_divergence(Normal(MEAN, a.sqrt()), Normal(far, b.sqrt())).sum()
    assert torch.allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize(("q", "p"), [((0.3, 0.5), (-1.0, 2.0)), ((2.0, 1.5), (0.0, 0.4))])
def test_in_one_dimension_divergence_and_density_agree_with_quadrature(q, p):
    laws = [Gaussian(vector(mean), Spherical(torch.tensor(v, dtype=torch.float64))) for mean, v in (q, p)]

    def log_density(law, x):
        return law.log_prob(vector(x)).item()

    low, high = q[0] - 12 * q[1] ** 0.5, q[0] + 12 * q[1] ** 0.5
    whole, _ = quad(lambda x: math.exp(log_density(laws[0], x)), low, high, epsabs=1e-9)
    assert whole == pytest.approx(1, abs=1e-8)
    divergence, _ = quad(
        lambda x: math.exp(log_density(laws[0], x)) * (log_density(laws[0], x) - log_density(laws[1], x)), low, high
    )
    assert kl(*laws).item() == pytest.approx(divergence, rel=1e-7)


def test_in_two_dimensions_divergence_distance_and_density_agree_with_a_grid():
    q = Gaussian(vector(0.3, -0.2), Full(covariance(2, seed=5) + torch.eye(2)))
    p = Gaussian(vector(-0.5, 1.0), Full(covariance(2, seed=6) + torch.eye(2)))
    side = torch.linspace(-25, 25, 601, dtype=torch.float64)
    x = torch.cartesian_prod(side, side)
    mass = q.log_prob(x).exp() * (side[1] - side[0]) ** 2
    assert mass.sum().item() == pytest.approx(1, abs=1e-10)
    assert (mass * (q.log_prob(x) - p.log_prob(x))).sum().item() == pytest.approx(kl(q, p).item(), rel=1e-9)
    y = vector(1.0, 2.0)
    squares = (mass * (x - y).square().sum(1)).sum().item()
    assert squares == pytest.approx(q.expected_squared_distance(y).item(), rel=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_the_expected_squared_distance_is_that_of_samples(form):
    y = vector(0.5, 0.5, 3.0)
    squares = (draws(gaussian(form)) - y).square().sum(1)
    error = SIGMAS * squares.std() / DRAWS**0.5 + 1e-12
    assert (squares.mean() - gaussian(form).expected_squared_distance(y)).abs() <= error
    exact = MATRICES[form].trace() + (MEAN - y).square().sum()
    assert torch.allclose(gaussian(form).expected_squared_distance(y), exact, rtol=1e-13)


@given(seeds=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), ranks=st.tuples(*2 * [st.integers(0, 4)]))
@settings(max_examples=40, deadline=None)
def test_divergence_is_never_negative_and_zero_for_equal_gaussians(seeds, ranks):
    q, p = (Gaussian(noise(4, seed=s), Full(covariance(4, r, s + 1))) for s, r in zip(seeds, ranks, strict=True))
    assert kl(q, p) >= 0
    assert kl(q, q).abs() < 1e-10
    if seeds[0] != seeds[1]:
        assert kl(q, p) > 1e-6
        assert (kl(q, p) < math.inf) == (ranks == (4, 4))


@pytest.mark.parametrize("change", [1e-3, 1e-6, 1e-9])
def test_divergence_keeps_its_digits_between_near_equals(change):
    q, p = Gaussian(MEAN, Spherical(vector(1 + change)[0])), Gaussian(MEAN, Spherical(vector(1.0)[0]))
    true_change = (1 + change) - 1
    assert kl(q, p).item() == pytest.approx(3 * true_change**2 / 4, rel=max(2 * change, 1e-5))


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_divergence_does_not_change_under_an_affine_map_of_both(rank, scale):
    root, turn = noise(3, rank, seed=1), torch.linalg.qr(noise(3, 3, seed=2))[0]
    narrow = root @ covariance(rank, seed=3) @ root.mT
    q = Gaussian(MEAN + root.sum(1), Full(narrow))
    p = Gaussian(MEAN, Full(root @ root.mT))
    subspace = kl(
        Gaussian(torch.ones(rank, dtype=torch.float64), Full(covariance(rank, seed=3))),
        standard_normal(torch.zeros(rank, dtype=torch.float64)),
    )
    assert torch.allclose(kl(q, p), subspace, rtol=1e-8)
    assert torch.allclose(kl(q.affine(scale * turn), p.affine(scale * turn)), subspace, rtol=1e-8)


def point(form, mean):
    zero = torch.zeros((), dtype=torch.float64)
    return Gaussian(
        mean,
        {"spherical": Spherical(zero), "diagonal": Diagonal(zero.expand(3))}.get(
            form, Full(torch.zeros(3, 3, dtype=torch.float64))
        ),
    )


@pytest.mark.parametrize("form", ["spherical", "diagonal", "full"])
def test_points_diverge_by_nothing_from_themselves_and_infinitely_from_all_else(form):
    here, there = point(form, MEAN), point(form, MEAN + vector(0, 1e-3, 0))
    broad = gaussian("full")
    assert kl(here, here) == 0
    assert kl(here, there) == math.inf
    assert kl(here, broad) == math.inf
    assert kl(broad, here) == math.inf


@pytest.mark.parametrize("as_matrix", [False, True])
def test_in_directions_without_variance_only_agreement_is_finite(as_matrix):
    def law(mean, *variances):
        v = vector(*variances)
        return Gaussian(mean, Full(torch.diag(v)) if as_matrix else Diagonal(v))

    p = law(MEAN, 2.0, 3.0, 0.0)
    assert kl(law(MEAN, 1.0, 3.0, 0.0), p).item() == pytest.approx(0.5 * (0.5 - 1 + math.log(2)), rel=1e-12)
    assert kl(law(MEAN + vector(0, 0, 0.1), 1.0, 3.0, 0.0), p) == math.inf
    assert kl(law(MEAN, 1.0, 3.0, 0.1), p) == math.inf
    assert kl(law(MEAN, 0.0, 3.0, 0.0), p) == math.inf


@pytest.mark.parametrize("form", FORMS)
def test_a_seed_names_the_draw_and_float64_stays(form):
    law = gaussian(form)
    assert torch.equal(law.sample(seeded(1)), law.sample(seeded(1)))
    assert law.sample(seeded(1)).dtype == torch.float64


def test_matrices_refuse_images_and_events_of_different_dimensions_do_not_mix():
    images = Gaussian(noise(2, 1, 2, 2), Spherical(torch.ones(2, dtype=torch.float64)), 3)
    with pytest.raises(EbbtideError, match="flatten"):
        Gaussian(noise(2, 1, 2, 2), Full(torch.eye(2, dtype=torch.float64)), 3)
    with pytest.raises(EbbtideError, match="flatten"):
        images.affine(torch.eye(4, dtype=torch.float64))
    with pytest.raises(EbbtideError, match="do not add"):
        images + replace(images, event_dims=1)
    with pytest.raises(EbbtideError, match="dimensions"):
        kl(images, replace(images, event_dims=1))


def test_size_counts_the_coordinates_of_one_event():
    assert standard_normal(noise(5, 2, 3, 4), 3).size == np.prod([2, 3, 4])
    assert standard_normal(noise(5, 4)).size == 4


@pytest.mark.parametrize(
    ("use", "named"),
    [
        (lambda: Full(torch.tensor([[1.0, 0.5], [0.0, 1.0]])), "off its transpose by up to 0.5"),
        (lambda: square_root(torch.diag(torch.tensor([1.0, -0.5]))), "variance of -0.5"),
        (lambda: Gaussian(torch.zeros(2), Full(-torch.eye(2))).log_prob(torch.zeros(2)), "variance of -1"),
    ],
)
def test_matrices_that_are_no_covariance_are_refused(use, named):
    with pytest.raises(EbbtideError, match=named):
        use()
