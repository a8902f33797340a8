"""Processes that wait and do one round when asked, so that rounds go through all engines in turn.

Whatever else the machine does then hits all alike. Each has a process of its own: memory is the
whole process's, and no library's threads or allocator get in another's way.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

__all__ = ["Worker", "rounds_of", "spread"]


class Worker:
    """A `worker.py` in a process of its own; a context manager that ends it.

    Parameters
    ----------
    arguments
        What it is to do.
    threads
        How many threads its libraries may use.

    Attributes
    ----------
    unavailable : str
        Why it cannot do it here; empty where it can.
    """

    def __init__(self, *arguments: str | Path | int, threads: int) -> None:
        script = Path(__file__).with_name("worker.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script), *map(str, arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(threads),
        )  # fmt: skip
        self.unavailable: str = self._answer().get("unavailable", "")

    def go(self) -> dict[str, Any]:
        """One round; ``wall`` and ``cpu`` seconds, and what else there is."""
        return self._ask("go")

    def end(self) -> dict[str, Any]:
        """What it has to say in the end, ``peak_gb`` among it."""
        return self._ask("end")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        with suppress(BrokenPipeError):  # it is no longer there
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def _ask(self, word: str) -> dict[str, Any]:
        assert self._process.stdin
        with suppress(BrokenPipeError):  # the answer says so
            self._process.stdin.write(word + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:  # killed for its memory, say
            return {"unavailable": f"failed: ended with {self._process.wait()}"}
        answer: dict[str, Any] = json.loads(line)
        return answer


def environment(threads: int) -> dict[str, str]:
    """The variables of this process, with the number of threads for all libraries."""
    names = (
        "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
    )  # fmt: skip
    return os.environ | dict.fromkeys(names, str(threads))


def rounds_of(workers: Mapping[str, Worker], rounds: int) -> dict[str, dict[str, Any]]:
    """Go round through the workers, end them, and gather what each found.

    Returns
    -------
    dict
        For each worker ``unavailable``, or what it said in the end with ``runs`` (every round's
        figures) and the `spread` of each figure.
    """
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in workers}
    failed = {name: worker.unavailable for name, worker in workers.items() if worker.unavailable}
    for _ in range(rounds):
        for name, worker in workers.items():
            if name not in failed:
                run = worker.go()
                runs[name].append(run)
                if "unavailable" in run:
                    failed[name] = run["unavailable"]
    found: dict[str, dict[str, Any]] = {}
    for name, worker in workers.items():
        if name in failed:
            found[name] = {"unavailable": failed[name]}
        else:
            figures = {key: spread(run[key] for run in runs[name]) for key in runs[name][0]}
            found[name] = worker.end() | figures
    return found


def spread(values: Iterable[float]) -> dict[str, float]:
    """Median, least and largest."""
    given = list(values)
    return {"median": statistics.median(given), "min": min(given), "max": max(given)}
