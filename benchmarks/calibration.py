"""What vm-calibrate says of the official model, and what its files are worth elsewhere.

    .venv/bin/python benchmarks/calibration.py [--keep FOLDER] [--threads 2]

Calibrates on two pairs of scans with the default budget, and for INT8 with one that allows it; then
registers subject_n -> test_scan with each file, and compares with float32 in millimetres and Dice.
FP16 runs with every tensor rounded: onnxruntime on a CPU would leave that out. Writes
``results/calibration.json`` and brings the documents up to date.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import pair
from commands import run
from context import Context
from documents import RESULTS, documents, update
from int8_model import BUDGET_MM, calibrate, write_pairs
from machine import describe_machine
from numpy.typing import NDArray

from vmexport.artifact import ExportOptions, export_artifact
from vmexport.precision import as_rounded
from vmruntime import Artifact
from vmruntime.backends import open_backend
from vmruntime.quality import agreement


def displacement_of(model: Path, backend: str, precision: str, threads: int) -> NDArray[np.float32]:
    """The displacement of the unseen pair."""
    moving, fixed = (scan.data[None, None] / np.float32(255) for scan in pair.scans())
    engine = open_backend(Artifact.read(model), backend, "cpu", threads, precision)
    try:
        found = engine.run({"moving": moving, "fixed": fixed}, ["displacement"])
        return np.array(found["displacement"][0])
    finally:
        engine.close()


def rounded_fp16(folder: Path) -> Path:
    """A float32 model that rounds as the one of ``vm-export --precision fp16`` does."""
    half, path = folder / "fp16.onnx", folder / "rounded.onnx"
    if not half.exists():
        export_artifact(pair.CHECKPOINT, half, ExportOptions(shape=pair.SHAPE, precision="fp16"))
    onnx.save(as_rounded(onnx.load(half)), path)
    return path


@click.command()
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path))
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
def main(keep: Path | None, threads: int) -> None:
    """Calibrate, compare, write."""
    pair.require_assets()
    with tempfile.TemporaryDirectory() as temporary:
        folder = keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        result = measure(Context(folder, 1, threads))
    (RESULTS / "calibration.json").write_text(json.dumps(result, indent=1) + "\n")
    for path in documents():
        path.write_text(update(path.read_text()))
    click.echo(json.dumps(result["unseen"], indent=1))


def measure(context: Context) -> dict[str, Any]:
    """The whole result."""
    model = context.model()
    pairs, out = context.folder / "pairs.csv", context.folder / "calibrated"
    write_pairs(pairs)
    shutil.rmtree(out, ignore_errors=True)
    command = Path(sys.executable).with_name("vm-calibrate")
    context.say("calibrating")
    ran = run(
        [command, model, "--pairs", pairs, "-o", out, "--threads", context.threads],
        os.environ,
    )
    report = json.loads((out / "report.json").read_text())
    context.say("an INT8 model")
    int8 = calibrate(model, context.folder / "int8", context.threads)
    context.say("the pair that it did not see")
    files: dict[str, Callable[[], NDArray[np.float32]]] = {
        "FP32": lambda: displacement_of(model, "openvino", "fp32", context.threads),
        "FP16": lambda: displacement_of(
            rounded_fp16(context.folder), "onnxruntime", "auto", context.threads
        ),
        "BF16": lambda: displacement_of(model, "openvino", "bf16", context.threads),
        "INT8": lambda: displacement_of(int8, "openvino", "auto", context.threads),
    }  # fmt: skip
    unseen: list[dict[str, Any]] = []
    reference: NDArray[np.float32] | None = None
    for name, compute in files.items():
        field = compute()
        reference = field if reference is None else reference
        away = agreement(reference, field, (1.0, 1.0, 1.0))
        judged = pair.judge(field)
        unseen.append(
            {"precision": name, "mean_mm": away.mean, "p99_mm": away.p99, "max_mm": away.max}
            | {key: judged[key] for key in ("dice", "ncc", "folding_percent")}
        )
    kept = ("name", "title", "bytes", "timing", "verdict")
    return {
        "machine": describe_machine(["numpy", "onnxruntime", "openvino"]),
        "threads": context.threads,
        "wall": ran.wall, "cpu": ran.cpu, "peak_gb": ran.peak_gb,
        "recommendation": report["recommendation"]["sentence"],
        "candidates": [{key: one.get(key) for key in kept} for one in report["candidates"]],
        "int8_budget_mm": BUDGET_MM,
        "unseen": unseen,
    }  # fmt: skip


if __name__ == "__main__":
    main()
