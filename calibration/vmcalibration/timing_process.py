"""The other process of `timing`: load a model, run it, say what it took as JSON on stdout.

Nothing is imported here but the runtime, so that memory is what vm-infer needs and no more.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from vmruntime.artifact import Artifact
from vmruntime.backends import open_backend

__all__: list[str] = []


def _measure(request: dict[str, object]) -> dict[str, object]:
    feeds = {name: np.load(str(request[name])) for name in ("moving", "fixed")}
    start = time.perf_counter()
    backend = open_backend(
        Artifact.read(str(request["model"])),
        str(request["backend"]),
        "cpu",
        int(str(request["threads"])),
        str(request["precision"]),
    )
    load = time.perf_counter() - start
    backend.run(feeds, ["displacement"])
    walls, cpus = [], []
    for _ in range(int(str(request["repeats"]))):
        start, used = time.perf_counter(), time.process_time()
        backend.run(feeds, ["displacement"])
        walls.append(time.perf_counter() - start)
        cpus.append(time.process_time() - used)
    return {
        "seconds": min(walls),
        "median_seconds": statistics.median(walls),
        "slowest_seconds": max(walls),
        "cpu_seconds": min(cpus),
        "load_seconds": load,
        "peak_mb": _peak_kib() / 1024,
        "engine": f"{backend.name} {backend.version} {backend.precision}",
    }


def _peak_kib() -> int:
    """Largest resident memory since this program began.

    Not `getrusage`, where there is better: that one starts at what the calling process had.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    json.dump(_measure(json.loads(sys.argv[1])), sys.stdout)
