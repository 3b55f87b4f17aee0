"""Who leads a race: nobody within the error."""

import numpy as np
import pytest

from ebbtide.evaluation.race import SURELY, leader_in_words, race_figure, race_section, tied


def lap(sampler, steps, value, error, a_step=1):
    """error: of how far it is behind 0.5."""
    return {
        "sampler": sampler,
        "evaluations": steps * a_step,
        "steps": steps,
        "a_step": a_step,
        "to_data": {"value": value, "error": 0.2},
        "to_reference": 0.1,
        "behind": {"value": value - 0.5, "error": error},
    }


NEAREST = lap("dpm2m", 20, 0.5, 0.0)


def test_a_lead_that_is_more_than_its_error_is_one():
    """Though each of the two distances is known to 0.2 only: they begin with the same noise."""
    words = leader_in_words([lap("ddim", 20, 0.6, 0.1 / SURELY * 0.99), NEAREST, lap("heun", 5, 3.0, 0.1, 2)])
    assert words == "dpm2m leads: with 20 steps it is nearest to the data (0.50 ± 0.20)"


def test_within_the_error_nobody_leads_and_the_cheapest_is_named():
    laps = [NEAREST, lap("unipc", 8, 0.6, 0.1 / SURELY * 1.01), lap("heun", 5, 0.55, 0.1, 2), lap("ddim", 5, 0.9, 0.1)]
    words = leader_in_words(laps)
    assert "leads" not in words.replace("nobody leads", "")
    assert "unipc with 8, heun with 5, dpm2m with 20 steps are as near" in words
    assert words.endswith("the cheapest of them is unipc with 8 steps")
    assert [one["sampler"] for one in tied(laps)] == ["unipc", "heun", "dpm2m"]


def test_a_sampler_that_ties_with_itself_leads_with_its_fewest_steps():
    words = leader_in_words([lap("ddim", 8, 2.0, 0.1), lap("dpm2m", 10, 0.55, 0.1), NEAREST])
    assert words == "dpm2m leads, within the error with 10 or 20 steps: 10 will do"


def test_the_picture_rings_those_that_share_the_lead():
    laps = [lap("ddim", 8, 2.0, 0.1), lap("dpm2m", 10, 0.55, 0.1), NEAREST]
    (rings,) = [line for line in race_figure(laps).axes[0].lines if line.get_fillstyle() == "none"]
    assert np.array_equal(rings.get_xydata(), [[10, 0.55], [20, 0.5]])


@pytest.mark.parametrize("content", ["{}", '{"laps": []}', '{"laps": [{"sampler": "ddim"}]}', "[", '{"laps": 3}'])
def test_a_race_that_says_nothing_leaves_the_page_whole(tmp_path, content):
    assert race_section(tmp_path) == ""
    (tmp_path / "race.json").write_text(content)
    assert "<h2>Race of samplers</h2>" in race_section(tmp_path)
