"""How good are the demo's digits? A classifier of real digits reads the samples, and nearest neighbours tell
whether they are copies.

    python benchmarks/digits.py runs/demo [--samples 500] [--readme]

Prints a table, writes RUN/digits.json, and with --readme puts the table into README.md between its markers.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.neural_network import MLPClassifier

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


def measure(run: Run, count: int) -> dict[str, float]:
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


def table(numbers: dict[str, float], machine: str) -> str:
    """The numbers as Markdown."""
    n = numbers
    ratio = n["nearest_training_image_of_samples"] / n["nearest_training_image_of_held_out"]
    rows = [
        ("training", f"{n['training_seconds']:.0f} s, {n['training_steps']:,} updates on {machine}"),
        ("classifier on held-out real digits", f"{n['classifier_accuracy_on_held_out']:.1%} right"),
        ("real held-out digits read with confidence > 0.9", f"{n['held_out_confident']:.1%}"),
        (f"{n['samples']} samples read with confidence > 0.9", f"{n['samples_confident']:.1%} (aim: 90 %)"),
        ("samples read as the label they were drawn for", f"{n['samples_read_as_their_label']:.1%}"),
        ("classes that occur", f"{n['classes_that_occur']} of 10"),
        (
            "mean distance to the nearest training image",
            f"samples {n['nearest_training_image_of_samples']:.3f}, held-out real digits "
            f"{n['nearest_training_image_of_held_out']:.3f} (ratio {ratio:.2f}; below {1 - MARGIN:.2f} is copying)",
        ),
        ("exact copies of training images", f"{n['exact_copies']}"),
    ]
    return "\n".join(["| what | measured |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    options = parser.parse_args()
    run = open_run(options.run)
    numbers = measure(run, options.samples)
    cores = f"{torch.get_num_threads()} cores, {run.machine['precision']}"
    text = table(numbers, cores)
    print(text)
    (run.path / "digits.json").write_text(json.dumps(numbers, indent=1))
    if options.readme:
        readme = Path(__file__).parents[1] / "README.md"
        begin, end = "<!-- digits:begin -->\n", "<!-- digits:end -->"
        before, rest = readme.read_text().split(begin)
        readme.write_text(before + begin + text + "\n" + end + rest.split(end, 1)[1])


if __name__ == "__main__":
    main()
