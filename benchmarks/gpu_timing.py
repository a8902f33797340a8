"""Timing one thing on a GPU, and what is noted of it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["TOGETHER", "Case", "Row", "measure", "smooth_field"]

TOGETHER = 20
"""Launches of one kernel that are timed together."""


@dataclass(frozen=True)
class Case:
    """Something to measure.

    Parameters
    ----------
    group
        What it is compared with: ``"network"``, ``"warp"``, ``"pipeline"``.
    name
        What the tables call it.
    prepare
        Makes it ready; gives what runs it once, and waits until the device is done.
    floor_ms
        What the machine's own rates allow, where that is known.
    together
        How often what `prepare` gives does its work before it waits: a kernel of some microseconds
        is measured without the waiting. The time is that of one.
    """

    group: str
    name: str
    prepare: Callable[[], Callable[[], object]]
    floor_ms: float | None = None
    together: int = 1


@dataclass(frozen=True)
class Row:
    """What was measured of a case.

    Parameters
    ----------
    group, name, floor_ms
        See `Case`.
    ms
        Median of the runs after warming up; None where it failed.
    spread_ms
        Lower and upper quartile.
    first_ms
        Making it ready and the first run: loading, compiling, tuning.
    memory_mib
        Device memory in use, above what was before; None where nobody counts it.
    note
        Why it failed, or what else there is to say.
    """

    group: str
    name: str
    ms: float | None
    spread_ms: tuple[float, float] | None = None
    first_ms: float | None = None
    memory_mib: float | None = None
    floor_ms: float | None = None
    note: str = ""


def measure(
    case: Case, *, repeats: int, warm_up: int, used: Callable[[], float] = lambda: 0.0
) -> Row:
    """Prepare and run a case; one that fails is a row that says why.

    Parameters
    ----------
    case
        What to measure.
    repeats, warm_up
        Runs that count, and runs before them.
    used
        Device memory in use, in MiB.
    """
    before = used()
    start = time.perf_counter()
    try:
        run = case.prepare()
        run()
        first = time.perf_counter() - start
        for _ in range(warm_up):
            run()
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            run()
            seconds.append((time.perf_counter() - start) / case.together)
        memory = used() - before
    # Whatever an engine raises: the others are still to be measured.
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return Row(case.group, case.name, None, floor_ms=case.floor_ms, note=f"failed: {reason}")
    finally:
        close = getattr(locals().get("run"), "close", None)
        if close is not None:
            close()
    low, middle, high = statistics.quantiles(seconds, n=4) if repeats > 1 else 3 * seconds
    return Row(
        case.group,
        case.name,
        1e3 * middle,
        (1e3 * low, 1e3 * high),
        1e3 * first,
        memory or None,
        case.floor_ms,
    )


def smooth_field(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A displacement ``(3, D, H, W)`` of up to 6 voxels that folds nowhere, as networks give."""
    places = np.meshgrid(*(np.arange(n, dtype=np.float32) / 48 for n in shape), indexing="ij")
    waves = [6 * np.sin(places[axis] + 2 * places[axis - 1]) for axis in range(3)]
    return np.stack(waves).astype(np.float32)
