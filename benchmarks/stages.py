"""Where the time and memory of one registration go, outside the network.

    .venv/bin/python benchmarks/stages.py MODEL MOVING FIXED [--moving-seg SEG] [--repeats 5]

Registers a pair whose grids differ from the model's, with the network replaced by a displacement
computed beforehand, so that what is left is ours: alignment, sampling into the model's grid,
composition, resampling of the scan and of its labels. Prints CPU and wall seconds of each stage
(medians; reading and writing files apart) and the peak memory above the network's.
"""

from __future__ import annotations

import json
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
from machine import describe_machine

from vmruntime import Registrar
from vmruntime.io.images import read_labels, read_scan
from vmruntime.stages import Stages

ROUNDS = ("align", "prepare", "resample")


class CpuStages(Stages):
    """Stages that also count the CPU seconds of all threads."""

    def __init__(self) -> None:
        super().__init__()
        self.cpu: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time a ``with`` block."""
        start = time.process_time()
        with super().__call__(name):
            yield
        self.cpu[name] = self.cpu.get(name, 0.0) + time.process_time() - start


class Recorded:
    """A backend that gives what another one gave before.

    Parameters
    ----------
    backend
        The real one; asked once.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._outputs: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def run(self, feeds: Any, outputs: Any) -> dict[str, Any]:
        """Give the recorded outputs, computing what is missing."""
        missing = [name for name in outputs if name not in self._outputs]
        if missing:
            self._outputs |= self._backend.run(feeds, missing)
        return {name: self._outputs[name] for name in outputs}


def peak_mb() -> float:
    """Highest resident memory of this process so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("moving", type=click.Path(path_type=Path))
@click.argument("fixed", type=click.Path(path_type=Path))
@click.option("--moving-seg", type=click.Path(path_type=Path))
@click.option("--interp", type=click.Choice(["nearest", "label"]), default="nearest")
@click.option("--affine", default="auto", show_default=True)
@click.option("--repeats", default=5, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="Write JSON here.")
def main(
    model: Path, moving: Path, fixed: Path, moving_seg: Path | None, interp: Any, affine: str,
    repeats: int, output: Path | None,
) -> None:  # fmt: skip
    """Measure the stages of a registration and print them."""
    scans = [read_scan(moving), read_scan(fixed)]
    labels = read_labels(moving_seg) if moving_seg else None
    before = peak_mb()
    with Registrar.load(model) as registrar:
        recorded: Any = Recorded(registrar.backend)
        shape = registrar.manifest.shape or scans[1].grid.shape
        field = np.zeros((1, 3, *shape), np.float32)
        field[:] = np.sin(np.arange(shape[-1], dtype=np.float32) / 9) * 3
        recorded._outputs["displacement"] = field
        registrar.backend = recorded
        runs: list[CpuStages] = []
        for _ in range(repeats):
            stages = CpuStages()
            registrar.register(
                *scans,
                affine=affine,
                labels=[labels] if labels else [],
                label_interpolation=interp,
                stages=stages,
            )
            runs.append(stages)
    memory = peak_mb() - before

    def median(of: Callable[[CpuStages], dict[str, float]], name: str) -> float:
        return statistics.median(of(run).get(name, 0.0) for run in runs)

    facts: dict[str, Any] = {
        "machine": describe_machine(["numpy", "nibabel"]),
        "moving": scans[0].grid.describe(),
        "fixed": scans[1].grid.describe(),
        "labels": None if labels is None else int(np.unique(labels.data).size),
        "cpu": {name: median(lambda run: run.cpu, name) for name in ROUNDS},
        "wall": {name: median(lambda run: run.seconds, name) for name in ROUNDS},
        "peak_mb_above_inputs": memory,
    }
    click.echo(f"{'stage':<12}{'CPU s':>8}{'wall s':>8}")
    for name in ROUNDS:
        click.echo(f"{name:<12}{facts['cpu'][name]:>8.2f}{facts['wall'][name]:>8.2f}")
    total = [sum(facts[kind].values()) for kind in ("cpu", "wall")]
    click.echo(f"{'sum':<12}{total[0]:>8.2f}{total[1]:>8.2f}")
    click.echo(f"peak memory above the inputs: {memory:.0f} MB, {facts['labels']} labels")
    if output:
        output.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
