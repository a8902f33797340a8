"""A process that does one thing again and again when it is asked to: see `workers.Worker`.

    worker.py KIND ARGUMENT...

Reads lines: ``go`` answers with one round, ``end`` with what is left to say. Answers are JSON, one
a line; the first says that it is ready, or why it cannot be.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ceilings import gemm_rates, triad_rate
from numpy.typing import NDArray

from vmruntime.errors import VMError, one_line


class EngineRounds:
    """Registrations of the pair by one of `engines.ENGINES`."""

    def __init__(self, name: str, model: str, field: str, threads: str) -> None:
        from engines import ENGINES

        self._loaded = ENGINES[name].load(Path(model), int(threads))
        self._field = Path(field)
        self._displacement: NDArray[np.float32] = self._loaded.register()
        self._loaded.unet_seconds.clear()

    def go(self) -> dict[str, float]:
        """One round, after one that does not count: in between, others had the caches."""
        self._displacement = self._loaded.register()
        wall, cpu = time.perf_counter(), time.process_time()
        self._displacement = self._loaded.register()
        found = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        if self._loaded.unet_seconds:  # the last entry is this round's
            found["unet"] = self._loaded.unet_seconds[-1]
        return found

    def end(self) -> dict[str, Any]:
        """What ran; the displacement of the last round goes into the file."""
        np.save(self._field, self._displacement)
        return self._loaded.facts


class GridRounds:
    """The U-Net and its tail on random scans of one size, by the openvino engine in float32."""

    def __init__(self, model: str, grid: str, threads: str) -> None:
        from vmruntime import Artifact
        from vmruntime.backends.openvino import OpenVinoBackend

        shape = tuple(int(size) for size in grid.split("x"))
        random = np.random.default_rng(0)
        self._feeds = {
            name: random.random((1, 1, *shape), np.float32) / 2 for name in ("moving", "fixed")
        }
        self._backend = OpenVinoBackend(Artifact.read(model), "cpu", int(threads), "fp32")
        self.go()

    def go(self) -> dict[str, float]:
        """One round."""
        wall, cpu = time.perf_counter(), time.process_time()
        self._backend.run(self._feeds, ["displacement", "moved"])
        return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}

    def end(self) -> dict[str, Any]:
        """Nothing to add."""
        return {}


class CeilingRounds:
    """What the machine itself reaches."""

    def __init__(self, threads: str) -> None:
        import torch

        torch.set_num_threads(int(threads))

    def go(self) -> dict[str, float]:
        """One round."""
        return {**gemm_rates(), "triad": triad_rate()}

    def end(self) -> dict[str, Any]:
        """Nothing to add."""
        return {}


KINDS: dict[str, Callable[..., Any]] = {
    "engine": EngineRounds,
    "grid": GridRounds,
    "ceilings": CeilingRounds,
}


def answer(found: dict[str, Any]) -> None:
    """One line for the parent."""
    print(json.dumps(found), flush=True)


def peak_gb() -> float:
    """Highest resident memory of this process, in gigabytes (10^9 bytes).

    Not getrusage's: that begins with what the parent had when it made this process.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e9


def main() -> None:
    """Get ready, and answer until the end."""
    kind, *arguments = sys.argv[1:]
    try:
        rounds = KINDS[kind](*arguments)
    except VMError as error:
        answer({"unavailable": one_line(error)})
        return
    except Exception as error:  # a row that says why, and the others go on
        answer({"unavailable": f"failed: {type(error).__name__}: {one_line(error)}"})
        return
    answer({"ready": True})
    for line in sys.stdin:
        if line.strip() == "end":
            answer({**rounds.end(), "peak_gb": peak_gb()})
            return
        answer(rounds.go())


if __name__ == "__main__":
    main()
