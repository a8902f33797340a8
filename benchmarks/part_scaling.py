"""How seconds and memory grow: with the volume, with threads, with pairs in one process."""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import commands
import numpy as np
import pair
from context import Context
from gates import Gate
from workers import Worker, environment, rounds_of, spread

__all__ = ["fit", "measure"]

GRIDS = ((80, 96, 112), (112, 128, 160), (128, 160, 192), (160, 192, 224), (192, 224, 256))
PAIRS = (1, 2, 4, 8)
EVEN = 0.15
"""How far the cost of a voxel may differ between the smallest and the largest grid."""


def measure(context: Context) -> dict[str, Any]:
    """All three; the openvino engine in float32."""
    volumes = by_volume(context)
    rows = volumes["rows"]
    a_voxel = [row["wall"]["median"] / row["voxels"] for row in rows]
    uneven = max(a_voxel) / min(a_voxel) - 1
    gate = Gate("cost of a voxel: largest over least, minus 1", uneven, most=EVEN)
    return {
        "rounds": context.rounds,
        "threads": context.threads,
        "volumes": volumes,
        "by_threads": by_threads(context),
        "pairs": by_pairs(context),
        "gates": [gate.to_dict()],
    }


def by_volume(context: Context) -> dict[str, Any]:
    """U-Net and tail on grids of several sizes."""
    model = context.model_of_any_grid()
    found = in_turn(context, {grid: (model, grid, context.threads) for grid in GRIDS})
    rows = [{"grid": list(grid), "voxels": math.prod(grid), **found[grid]} for grid in GRIDS]
    million = [row["voxels"] / 1e6 for row in rows]
    return {
        "rows": rows,
        "seconds": fit(million, [row["wall"]["median"] for row in rows]),
        "gb": fit(million, [row["peak_gb"] for row in rows]),
    }


def by_threads(context: Context) -> list[dict[str, Any]]:
    """The same on the model's grid with 1, 2, 4 ... threads."""
    counts = [1 << power for power in range(context.threads.bit_length())]
    counts = sorted({*(count for count in counts if count < context.threads), context.threads})
    model = context.model_of_any_grid()
    found = in_turn(context, {count: (model, pair.SHAPE, count) for count in counts})
    return [{"threads": count, **found[count]} for count in counts]


def in_turn(
    context: Context, cases: dict[Any, tuple[Path, Sequence[int], int]]
) -> dict[Any, dict[str, Any]]:
    """Rounds through grids and numbers of threads, each in a process of its own."""
    with ExitStack() as stack:
        workers = {}
        for case, (model, grid, threads) in cases.items():
            context.say(f"scaling: {case}")
            size = "x".join(map(str, grid))
            worker = Worker("grid", model, size, threads, threads=threads)
            workers[case] = stack.enter_context(worker)
        found = rounds_of(workers, context.rounds)
    for case, figures in found.items():
        if "unavailable" in figures:
            raise RuntimeError(f"{case}: {figures['unavailable']}")
    return found


def by_pairs(context: Context) -> dict[str, Any]:
    """Files in, files out, for several pairs in one process: what its start costs."""
    script = Path(__file__).with_name("many_pairs.py")
    settings = environment(context.threads) | {"VM_CACHE": str(context.folder / "cache")}
    runs: dict[int, list[commands.Ran]] = {count: [] for count in PAIRS}
    for _ in range(context.rounds):
        for count in PAIRS:
            context.say(f"scaling: {count} pairs in one process")
            with tempfile.TemporaryDirectory(dir=context.folder) as empty:
                command = [sys.executable, script, context.model(), count, empty]
                runs[count].append(commands.run(command, settings))
    rows: list[dict[str, Any]] = [
        {
            "pairs": count,
            "wall": spread(run.wall for run in ran),
            "cpu": spread(run.cpu for run in ran),
            "peak_gb": max(run.peak_gb for run in ran),
        }
        for count, ran in runs.items()
    ]
    return {"rows": rows, "seconds": fit(PAIRS, [row["wall"]["median"] for row in rows])}


def fit(x: Sequence[float], y: Sequence[float]) -> dict[str, float]:
    """Straight line by least squares: slope, intercept, and the largest residual, also of `y`."""
    given, wanted = np.asarray(x, float), np.asarray(y, float)
    slope, intercept = np.polyfit(given, wanted, 1)
    residual = np.abs(slope * given + intercept - wanted)
    worst = int(residual.argmax())
    return {
        "slope": float(slope),
        "intercept": float(intercept),
        "residual": float(residual[worst]),
        "residual_share": float(residual[worst] / wanted[worst]),
    }
