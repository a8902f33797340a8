"""Seconds and peak memory of a candidate, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vmcalibration.candidates import Candidate
from vmcalibration.errors import CalibrationError
from vmexport.verification import Pair
from vmruntime.errors import one_line

__all__ = ["Timing", "time_candidate"]

LIMIT = 1800
"""Seconds after which a measurement is given up."""


@dataclass(frozen=True)
class Timing:
    """What one candidate costs on this machine.

    Parameters
    ----------
    seconds, median_seconds, slowest_seconds
        Wall clock of one displacement, loaded and warm. The fastest run counts: it is the one that
        whatever else the machine does has disturbed least.
    cpu_seconds
        Of all threads together, the least.
    load_seconds
        Loading and compiling.
    peak_mb
        Largest memory of the process, the engine and Python included.
    engine
        What ran it.
    """

    seconds: float
    median_seconds: float
    slowest_seconds: float
    cpu_seconds: float
    load_seconds: float
    peak_mb: float
    engine: str


def time_candidate(
    candidate: Candidate, pair: Pair, folder: Path, threads: int, repeats: int
) -> Timing | None:
    """Time a candidate; None where this machine has no way to run it.

    Parameters
    ----------
    candidate
        What to run; its file has to be there.
    pair
        The scans.
    folder
        Where the scans are left for the other process.
    threads
        Threads of the engine.
    repeats
        Timed runs, after one that is not.

    Raises
    ------
    CalibrationError
        The other process failed.
    """
    run = candidate.timed
    if run is None:
        return None
    scans = {}
    for name, scan in (("moving", pair.moving), ("fixed", pair.fixed)):
        scans[name] = folder / f"timing_{name}.npy"
        np.save(scans[name], scan[np.newaxis])
    request = {
        "model": str(run.artifact.path),
        "backend": run.backend,
        "precision": run.precision,
        "threads": threads,
        "repeats": repeats,
        **{name: str(path) for name, path in scans.items()},
    }
    done = subprocess.run(
        [sys.executable, "-m", "vmcalibration.timing_process", json.dumps(request)],
        capture_output=True,
        text=True,
        # What this process imports from, the other one does too, installed or not.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        timeout=LIMIT,
        check=False,
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise CalibrationError(
            f"timing {candidate.title} failed: {one_line(Exception(reason))}; "
            "is there enough memory?"
        )
    found: dict[str, Any] = json.loads(done.stdout)
    return Timing(**found)
