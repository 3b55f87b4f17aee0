"""Data loading: images/s when a source is opened and when batches are drawn, and how memory grows with their number.

    python benchmarks/loading.py [--counts 2000 8000 16000]

Pictures are 64x64 in colour. Each measurement is a process of its own: memory is what opening added to it, apart from
pages of files, which the system takes back when it needs room.
"""

from __future__ import annotations

import argparse
import gzip
import json
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import measure
from ebbtide.data import load

SIDE = 64
BATCH, BATCHES = 64, 100


def make(folder: Path, count: int) -> dict[str, Path]:
    """The same smooth random pictures as PNG files in a folder, as an array, and (grey) as IDX."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    values = np.stack(
        [np.asarray(Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for one in coarse]
    )
    pictures = folder / f"pictures-{count}"
    pictures.mkdir()
    for number, value in enumerate(values):
        Image.fromarray(value).save(pictures / f"{number:06d}.png", compress_level=1)
    array, idx = folder / f"{count}.npy", folder / f"idx-{count}"
    np.save(array, values)
    idx.mkdir()
    header = struct.pack(">HBBIII", 0, 8, 3, count, SIDE, SIDE)
    with gzip.open(idx / "train-images-idx3-ubyte.gz", "wb", compresslevel=1) as file:
        file.write(header + values[..., 0].tobytes())
    return {"folder of PNG files": pictures, "IDX, gzipped": idx, "array (.npy)": array}


def anonymous() -> float:
    """MiB that this process holds and that no file backs."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) / 1024


def one(source: Path) -> dict[str, float]:
    """Open and draw, in this process."""
    load("digits").batch([0])  # whatever is imported late
    before, started = anonymous(), time.perf_counter()
    data = load(str(source), size=SIDE)
    opened = time.perf_counter() - started
    orders = [torch.randint(0, len(data), (BATCH,)) for _ in range(BATCHES)]
    data.batch(orders[0])
    started = time.perf_counter()
    for order in orders:
        data.batch(order)
    drawn = time.perf_counter() - started
    return {"open": len(data) / opened, "draw": BATCH * BATCHES / drawn, "memory": anonymous() - before}


def main() -> None:
    options = measure.options(
        __doc__,
        ("--counts", {"type": int, "nargs": "+", "default": [2000, 8000, 16000]}),
        ("--one", {"type": Path, "help": argparse.SUPPRESS}),
    )
    if options.one:
        print(json.dumps(one(options.one)))
        return
    rows, results = [], []
    with tempfile.TemporaryDirectory() as folder:
        for count in options.counts:
            for name, path in make(Path(folder), count).items():
                command = [sys.executable, __file__, "--one", str(path)]
                found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
                rows.append(
                    (name, f"{count:,}", f"{found['open']:,.0f}", f"{found['draw']:,.0f}", f"{found['memory']:.0f}")
                )
                results.append({"source": name, "images": count, **found})
                print(rows[-1], flush=True)
    heads = ("source", "images", "opened, images/s", "drawn, images/s", "memory, MiB")
    measure.show("loading", f"Images of {SIDE}x{SIDE}", heads, sorted(rows, key=lambda row: row[0]))
    measure.save("loading", {"results": results})


if __name__ == "__main__":
    main()
