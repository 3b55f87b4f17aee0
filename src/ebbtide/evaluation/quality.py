"""What `ebbtide evaluate` found, as words, pictures and a section of the report; drawn from RUN/evaluation.json."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ebbtide.evaluation.figures import BLUE, INK, ORANGE, panels
from ebbtide.evaluation.page import picture, section_of, sentence, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS = {
    "frechet": "Fréchet distance",
    "kernel": "kernel distance, x 1000",
    "precision": "precision",
    "recall": "recall",
    "inception_score": "inception score",
}
MEANING = (
    "Distances: lower is better. Precision: the share of samples that look real; recall: the share of real examples "
    "that samples cover. Inception score: higher is better, up to the number of classes."
)
SCALE = {"kernel": 1000.0}
CLOUD = 1000  # points drawn of each set


def words_of(name: str, measured: Mapping[str, float]) -> str:
    """A number with its standard error, to as many digits as the error allows."""
    scale = SCALE.get(name, 1.0)
    value, error = measured["value"] * scale, measured["error"] * scale
    digits = 3 if error <= 0 else max(0, min(4, 1 - int(np.floor(np.log10(error)))))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def rows_of(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Name, then the metric of each set."""
    sets = found["sets"]
    return [
        (title, *(words_of(name, one[name]) if name in one else "" for one in sets.values()))
        for name, title in METRICS.items()
        if any(name in one for one in sets.values())
    ]


def heads_of(found: Mapping[str, Any]) -> tuple[str, ...]:
    """What each set is."""
    unseen = "held-out" if found["split"] == "test" else "real, other half"
    return tuple(f"{one['count']:,} {unseen if name == 'unseen' else 'samples'}" for name, one in found["sets"].items())


def copies_in_words(found: Mapping[str, Any]) -> str:
    """Whether samples lie nearer to the training set than examples that it never saw."""
    copies = found["copying"]
    nearer = copies["nearer"]
    exact = f"{copies['copies']:,} of {copies['samples']:,} samples are exact copies of training examples"
    if copies["copies_unseen"]:
        exact += f" (and {copies['copies_unseen']:,} of {copies['unseen']:,} unseen examples)"
    return (
        f"A sample is nearer to the training set than an unseen example in {nearer['value']:.0%} ± "
        f"{nearer['error']:.0%} of pairs (50 %: nothing is copied); the middle distances are {copies['distance']:.3g} "
        f"and {copies['distance_unseen']:.3g}; {exact}."
    )


def quality_figure(samples: np.ndarray, real: np.ndarray, near: np.ndarray, near_unseen: np.ndarray) -> Figure:
    """Features of samples over those of real examples, along the real ones' first two principal components; and how far
    samples and unseen examples are from the training set."""
    figure, axes = panels(2, share=False)
    figure.set_size_inches(5.4, 6.4)
    centre = real.mean(0)
    axis = np.linalg.svd((real - centre)[:4000], full_matrices=False)[2][:2].T
    for rows, name, colour in ((real, "real", INK), (samples, "samples", BLUE)):
        cloud = (rows[:CLOUD] - centre) @ axis
        cloud = np.column_stack([cloud, np.zeros(len(cloud))])[:, :2]
        axes[0].scatter(cloud[:, 0], cloud[:, 1], s=5, color=colour, alpha=0.5, linewidths=0, label=name)
    axes[0].set(xlabel="features, first principal component", ylabel="second")
    axes[0].legend(loc="upper right", frameon=False, fontsize=8.5, labelcolor=INK, markerscale=2.5)
    edges = np.histogram_bin_edges(np.concatenate([near, near_unseen]), 40).tolist()
    for values, name, colour in ((near_unseen, "unseen examples", ORANGE), (near, "samples", BLUE)):
        axes[1].hist(values, edges, density=True, color=colour, alpha=0.5, label=name)
    axes[1].set(xlabel="distance to the nearest training example", ylabel="density")
    axes[1].legend(loc="best", frameon=False, fontsize=8.5, labelcolor=INK)
    return figure


def quality_section(run: Path) -> str:
    """The numbers and pictures; nothing where no evaluation was asked for."""
    return section_of(run / "evaluation.json", "Evaluation", partial(_quality, run))


def _quality(run: Path, found: Mapping[str, Any]) -> list[str]:
    heads = heads_of(found)
    shown = {row[0]: dict(zip(heads, row[1:], strict=True)) for row in rows_of(found)}
    said = f"Against {found['reference']:,} training examples, in the features of {found['features']}."
    copies = copies_in_words(found)
    pictures = [
        picture(run / "pictures" / "evaluation.png", "Features and nearest distances", kind="chart"),
        picture(
            run / "pictures" / "neighbours.png",
            "Samples and their nearest training examples",
            "the samples that are nearest to the training set, each beside its neighbour",
        ),
    ]
    return [sentence(said), table(shown), sentence(MEANING), sentence(copies), *(tag for tag in pictures if tag)]
