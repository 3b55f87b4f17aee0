"""How good are the demo's digits? A classifier of real digits reads the samples, and nearest neighbours tell
whether they are copies.

    python benchmarks/digits.py [RUN] [--samples 2000]

Without a RUN it times `make demo` and takes what that leaves.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import numpy as np
from sklearn.neural_network import MLPClassifier

import measure
from ebbtide.data import load
from ebbtide.evaluation.records import read_records
from ebbtide.recipes.draw import draw_all, labels_for
from ebbtide.recipes.run import Run, open_run

CONFIDENT = 0.9
MARGIN = 0.10
"""Samples may be nearer to the training set than held-out real digits are by at most this share of the distance."""


def features(images: np.ndarray) -> np.ndarray:
    """uint8 (n, 8, 8, 1) as vectors in [0, 1]."""
    return images.reshape(len(images), -1).astype(np.float64) / 255


def nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distance of each point to the nearest of the others."""
    squares = (points**2).sum(1)[:, None] - 2 * points @ others.T + (others**2).sum(1)
    return np.sqrt(np.maximum(squares.min(1), 0))


def measured(run: Run, count: int) -> dict[str, float]:
    """All the numbers."""
    train, test = load("digits"), load("digits", split="test")
    assert train.labels is not None
    assert test.labels is not None
    x_train, x_test = features(train.values), features(test.values)
    classifier = MLPClassifier((256,), alpha=1e-3, max_iter=300, random_state=0).fit(x_train, train.labels)

    started = time.perf_counter()
    labels = labels_for(run, count)
    samples = draw_all(run, run.denoiser(), count, labels=labels)
    seconds = time.perf_counter() - started
    x = features(run.to_bytes(samples).numpy())
    chances = classifier.predict_proba(x)
    read = chances.argmax(1)
    real = classifier.predict_proba(x_test)
    own, held_out = nearest(x, x_train), nearest(x_test, x_train)
    updates = [record for record in read_records(run.metrics) if record["kind"] == "update"]
    assert labels is not None
    return {
        "training_seconds": updates[-1]["seconds"],
        "training_steps": updates[-1]["step"],
        "training_images_per_second": float(np.median([record["images_per_second"] for record in updates])),
        "sampling_images_per_second": count / seconds,
        "sampling_steps": run.recipe.sampling.steps,
        "classifier_accuracy_on_held_out": float((real.argmax(1) == test.labels).mean()),
        "held_out_confident": float((real.max(1) > CONFIDENT).mean()),
        "samples": count,
        "samples_confident": float((chances.max(1) > CONFIDENT).mean()),
        "samples_read_as_their_label": float((read == labels.numpy()).mean()),
        "classes_that_occur": len(set(read.tolist())),
        "nearest_training_image_of_held_out": float(held_out.mean()),
        "nearest_training_image_of_samples": float(own.mean()),
        "exact_copies": int((own < 1e-9).sum()),
    }


def rows_of(n: dict[str, float], machine: str) -> list[tuple[str, str]]:
    """The numbers in words."""
    ratio = n["nearest_training_image_of_samples"] / n["nearest_training_image_of_held_out"]
    return [
        ("training", f"{n['training_seconds']:.0f} s, {n['training_steps']:,} updates on {machine}"),
        ("classifier on held-out real digits", f"{n['classifier_accuracy_on_held_out']:.1%} right"),
        ("real held-out digits read with confidence > 0.9", f"{n['held_out_confident']:.1%}"),
        (f"{n['samples']:,} samples read with confidence > 0.9", f"{n['samples_confident']:.1%} (aim: 90 %)"),
        ("samples read as the label they were drawn for", f"{n['samples_read_as_their_label']:.1%}"),
        ("classes that occur", f"{n['classes_that_occur']} of 10"),
        (
            "mean distance to the nearest training image",
            f"samples {n['nearest_training_image_of_samples']:.3f}, held-out real digits "
            f"{n['nearest_training_image_of_held_out']:.3f} (ratio {ratio:.2f}; below {1 - MARGIN:.2f} is copying)",
        ),
        ("exact copies of training images", f"{n['exact_copies']}"),
    ]


def main() -> None:
    options = measure.options(
        __doc__, ("run", {"type": Path, "nargs": "?"}), ("--samples", {"type": int, "default": 2000})
    )
    path, demo = options.run, None
    if path is None:
        subprocess.run(["make", "setup"], check=True)
        demo = measure.seconds_of(lambda: subprocess.run(["make", "demo"], check=True, capture_output=True))
        path = Path("runs/demo")
    run = open_run(path)
    numbers = measured(run, options.samples)
    rows = rows_of(numbers, f"{run.machine['cores']} cores, {run.machine['precision']}")
    if demo is not None:
        numbers["demo_seconds"] = demo
        rows.insert(0, ("`make demo` after installation, all of it", f"{demo:.0f} s"))
    measure.show("digits", f"The demo's digits, {options.samples:,} samples", ("what", "measured"), rows)
    measure.save("digits", numbers)


if __name__ == "__main__":
    main()
