"""What the official models give on the real scans of ../shared/assets: the README's table.

    .venv/bin/python benchmarks/bench.py real_pairs

Exports each checkpoint and registers each pair: similarity, Dice over the 30 labels, folding, and
seconds of a registration in a warm Registrar (median; files in, moved scan and displacement out).
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pair import ASSETS, SHAPE, wanted_labels

from vmexport.artifact import ExportOptions, export_artifact
from vmruntime import Registrar, Volume
from vmruntime.io.images import read_labels

__all__ = ["HEAD", "measure_all", "row"]

OFFICIAL = "vxm_dense_brain_T1_3D_mse.h5"


@dataclass(frozen=True)
class Case:
    """One row: a model, a pair, and the intensity rules of scans that are scaled already."""

    model: str
    moving: str
    fixed: str
    moving_intensity: str | None = None
    fixed_intensity: str | None = None
    labelled: bool = False


CASES = (
    Case(OFFICIAL, "subject_n_native", "test_scan", labelled=True),
    Case(OFFICIAL, "subject_n", "test_scan", labelled=True),
    Case(OFFICIAL, "oasis_a", "oasis_b", "none", "none"),
    Case(OFFICIAL, "test_scan", "oasis_b", None, "none"),
    Case("cvpr2018_vm2_l2.h5", "oasis_a", "oasis_b", "none", "none"),
    Case("try_voxelmorph_0100.pt", "oasis_a", "oasis_b", "none", "none"),
)


def scan_path(name: str) -> Path:
    """File of a scan."""
    native = name.endswith("_native")
    return ASSETS / "scans" / (f"{name}.mgz" if native else f"{name}_aligned.nii.gz")


def labels_of(name: str) -> Volume:
    """Labels of a scan; the cortical parcels of a native one folded into two."""
    scans = ASSETS / "scans"
    if not name.endswith("_native"):
        return read_labels(scans / f"{name}_aligned_aseg.nii.gz")
    parcels = read_labels(scans / f"{name}_aparc_aseg.mgz")
    data = parcels.data.copy()
    data[(data >= 11000) & (data < 12000)] = 3
    data[data >= 12000] = 42
    return parcels.with_data(data)


def measure(case: Case, model: Path, repeats: int) -> dict[str, Any]:
    """Register a pair several times and measure the result."""
    paths = [scan_path(name) for name in (case.moving, case.fixed)]
    segmentations = [
        labels_of(name) if case.labelled else None for name in (case.moving, case.fixed)
    ]
    seconds = []
    with Registrar.load(model) as registrar:
        for _ in range(repeats + 1):  # the first makes the engine's session
            start = time.perf_counter()
            result = registrar.register(
                *paths,
                moving_intensity=case.moving_intensity,
                fixed_intensity=case.fixed_intensity,
            )
            seconds.append(time.perf_counter() - start)
        engine = f"{registrar.backend.name} {registrar.backend.version}"
    quality = result.quality(
        moving_labels=segmentations[0],
        fixed_labels=segmentations[1],
        labels=wanted_labels(),
        local=False,
    )
    return {
        "model": case.model,
        "moving": case.moving,
        "fixed": case.fixed,
        "quality": quality.to_dict(),
        "seconds": statistics.median(seconds[1:]),
        "seconds_range": [min(seconds[1:]), max(seconds[1:])],
        "network_seconds": result.timings["network"],
        "engine": engine,
    }


HEAD = (
    "| model | moving -> fixed | MSE | NCC | Dice, 30 labels | folding % | seconds |",
    "|---|---|---|---|---|---|---|",
)


def row(found: dict[str, Any]) -> str:
    """One line of the markdown table."""
    quality = found["quality"]
    before, after = quality["similarity_before"], quality["similarity_after"]
    dice = "-"
    if quality["overlap_after"]:
        dice = f"{quality['overlap_before']['mean']:.3f} -> {quality['overlap_after']['mean']:.3f}"
    return (
        f"| {Path(found['model']).stem} | {found['moving']} -> {found['fixed']} "
        f"| {before['mse']:.5f} -> {after['mse']:.5f} | {before['ncc']:.3f} -> {after['ncc']:.3f} "
        f"| {dice} | {quality['regularity']['folding_percent']:.3g} | {found['seconds']:.1f} |"
    )


def measure_all(repeats: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Export every model and measure every case; `say` gets progress."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            model = Path(folder) / f"{case.model}.onnx"
            if not model.exists():
                options = ExportOptions(shape=SHAPE)
                export_artifact(ASSETS / "models" / case.model, model, options)
            say(f"real_pairs: {case.model}: {case.moving} -> {case.fixed}")
            results.append(measure(case, model, repeats))
    return {"rounds": repeats, "results": results}
