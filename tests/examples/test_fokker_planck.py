"""Items J1-J3: the density's equation on a grid, particles, and the closed form tell the same."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

import fokker_planck as physics  # noqa: E402
from finite_volumes import Counted, Grid, Step, bernoulli, flow_matrix  # noqa: E402
from score_matching import losses  # noqa: E402

LINE, PLANE = Grid(6.0, 200), Grid(4.0, 50, 2)


def gaussian(grid, variance):
    return grid.density(lambda points: -0.5 * np.square(points).sum(1) / variance)


@pytest.mark.parametrize("grid", [LINE, PLANE, Grid(3.0, 8, 3)], ids=["line", "plane", "space"])
def test_mass_is_kept_to_rounding_whatever_the_drift(grid):
    matrix = flow_matrix(grid, lambda points: np.sin(3 * points) - points**3, 0.7)
    p = gaussian(grid, 0.5)
    for share in (0.5, 1.0):
        q = p
        for _ in range(20):
            q = Step(matrix, 0.01, share)(q)
            assert abs(grid.mass(q) - 1) < 1e-10
    assert np.abs(np.asarray(matrix.sum(0))).max() < 1e-9


@pytest.mark.parametrize("dt", [0.01, 1.0, 1000.0])
def test_implicit_steps_keep_a_density_positive_however_long_they_are(dt):
    p = np.zeros(PLANE.shape)
    p[10, 40] = 1 / PLANE.volume
    q = Step(flow_matrix(PLANE, lambda points: -5 * points, 0.1), dt, share=1.0)(p)
    assert q.min() >= 0
    assert PLANE.mass(q) == pytest.approx(1, abs=1e-10)


def test_the_stationary_density_of_a_potential_is_gibbs():
    """dx = -U' dt + sqrt(2) dw rests at exp(-U): on the grid too, from one long implicit step."""
    matrix = flow_matrix(LINE, lambda points: points - points**3, 1.0)
    rest = Step(matrix, 1e9, share=1.0)(gaussian(LINE, 1.0))
    gibbs = LINE.density(lambda points: points[:, 0] ** 2 / 2 - points[:, 0] ** 4 / 4)
    assert LINE.distance(rest, gibbs) < 1e-3


def test_errors_are_of_second_order_in_the_cells_and_in_the_steps():
    """The process dx = -x dt + sqrt(2) dw takes N(0, v) to N(0, 1 + (v - 1) e^-2t)."""

    def error(cells, steps):
        grid = Grid(6.0, cells)
        step, p = Step(flow_matrix(grid, lambda points: -points, 1.0), 0.5 / steps), gaussian(grid, 0.3)
        for _ in range(steps):
            p = step(p)
        return grid.distance(p, gaussian(grid, 1 - 0.7 * np.exp(-1.0)))

    by_cells = [error(cells, 400) for cells in (50, 100, 200)]
    assert all(abs(np.log2(a / b) - 2) < 0.2 for a, b in zip(by_cells[:-1], by_cells[1:], strict=True))
    by_steps = [error(1600, steps) for steps in (5, 10)]
    assert by_steps[0] / by_steps[1] > 3


def test_the_share_of_a_face_is_exact_at_both_ends_and_in_between():
    q = np.array([-800.0, -3.0, -1e-6, 0.0, 1e-6, 3.0, 800.0])
    assert bernoulli(q)[:3] == pytest.approx([800.0, 3 / (1 - np.exp(-3)), 1 + 5e-7], rel=1e-9)
    assert bernoulli(q)[3] == 1
    assert (bernoulli(q) >= 0).all()
    assert bernoulli(-q) == pytest.approx(bernoulli(q) + q, rel=1e-9)


def test_the_equation_of_the_forward_process_gives_the_closed_form_of_the_mixture():
    for t, p in zip((0.1, 0.5), physics.worn(physics.LINE, Grid(6.0, 400), (0.1, 0.5), 100), strict=True):
        assert Grid(6.0, 400).distance(p, physics.exact(physics.LINE, Grid(6.0, 400), t)) < 0.01
        assert p.min() > -1e-9


def test_langevins_equation_relaxes_to_the_law_of_its_score_on_a_line_and_in_the_plane():
    for oracle, grid in ((physics.LINE, LINE), (physics.PLANE, PLANE)):
        p = physics.relaxed(grid, physics.score(oracle, 0.2), gaussian(grid, 0.25), (8.0,), 0.1)[0]
        assert grid.distance(p, physics.exact(oracle, grid, 0.2)) < 0.01
        assert p.min() > -1e-9


def test_particles_have_the_density_of_the_equation_to_their_statistical_error():
    grid, drift = Grid(6.0, 300), physics.score(physics.LINE, 0.2)
    cloud = torch.from_numpy(0.5 * np.random.default_rng(0).standard_normal((10_000, 1)))
    p, x = physics.relaxed(grid, drift, gaussian(grid, 0.25), (0.4,))[0], physics.walked(drift, cloud, (0.4,))[0]
    counted = Counted.of(x.numpy(), grid, p)
    assert abs(counted.distance - counted.expected) < 5 * counted.spread


def test_chance_is_what_independent_particles_of_the_density_show():
    grid = Grid(6.0, 300)
    p, x = physics.exact(physics.LINE, grid, 0.3), physics.drawn(physics.LINE, 0.3, 20_000)
    counted = Counted.of(x.numpy(), grid, p)
    assert abs(counted.distance - counted.expected) < 5 * counted.spread


@pytest.mark.parametrize("t", [0.1, 0.3, 0.8])
def test_denoising_and_score_matching_differ_by_a_constant(t):
    """d/sigma² - E‖score‖², whatever the score: so both have the same gradients."""
    time = torch.tensor(t, dtype=torch.float64)
    sigma = float(physics.CORRUPTION.level(time).sigma)
    scores = [
        lambda x: physics.LINE(x, time.expand(len(x))).score,
        lambda x: -x,
        lambda x: torch.sin(3 * x) + 1,
        lambda x: torch.zeros_like(x),
    ]
    found = [losses(one, physics.LINE, t) for one in scores]
    gaps = [denoising - matching for denoising, matching in found]
    assert gaps == pytest.approx([gaps[0]] * 4, rel=1e-6)
    assert found[0][1] == 0
    assert gaps[0] == pytest.approx(1 / sigma**2 - found[3][1], rel=1e-6)


def test_the_example_runs_and_draws(tmp_path, capsys):
    physics.main(tmp_path / "picture.png", particles=500, cells=100)
    said = capsys.readouterr().out
    assert "mass - 1" in said
    assert 10_000 < (tmp_path / "picture.png").stat().st_size < 200_000
