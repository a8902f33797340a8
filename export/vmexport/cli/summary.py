"""What vm-export prints at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vmruntime.manifest import Manifest

__all__ = ["artifact_lines", "engine_lines", "error_lines"]


def artifact_lines(output: Path | None, manifest: Manifest) -> list[str]:
    """What the artifact is and how well it agrees with its source.

    Parameters
    ----------
    output
        The file; None where it was not kept.
    manifest
        What it says about itself.
    """
    facts = manifest.to_dict()
    free = f"any multiple of {facts['stride']}"
    grid = " x ".join(map(str, facts["shape"])) if facts["shape"] else free
    voxel = " x ".join(f"{size:g}" for size in facts["voxel_size"])
    first = []
    if output is not None:
        first = [f"{output}  {output.stat().st_size / 1e6:.2f} MB, {facts['precision']}"]
    lines = [
        *first,
        f"from       {facts['source'].get('layout', 'unknown')}",
        f"grid       {grid}, {facts['orientation']}, {voxel} mm",
        f"intensity  {facts['intensity']}",
    ]
    return lines + error_lines("verified", facts["verification"], "PyTorch")


def error_lines(title: str, measured: dict[str, Any], source: str) -> list[str]:
    """What a verification measured."""
    if "pair" not in measured:
        return []
    against = measured.get("against", source)
    lines = [f"{title:<10} on {measured['pair']}, {measured['engine']}, against {against}"]
    for name in ("displacement", "inverse_displacement"):
        if name in measured:
            error = measured[name]
            lines.append(
                f"           {name} error: mean {error['mean']:g}, p99 {error['p99']:g}, "
                f"max {error['max']:g} voxel ({error['max_mm']:g} mm) at {tuple(error['where'])}"
            )
    for name, figure in measured["source"].items():
        lines.append(f"           {name}: {figure:g} (checkpoint), {measured['artifact'][name]:g}")
    return lines


def engine_lines(
    output: Path, manifest: Manifest, report: list[str], unverified: str, onnx: Path | None
) -> list[str]:
    """What the engine is, how it was built, and whether it was verified.

    Parameters
    ----------
    output
        The plan.
    manifest
        What it says about itself.
    report
        Lines of the build.
    unverified
        Why the engine was not verified; empty where it was.
    onnx
        The ONNX model that it was built from, which a verification needs; None where it was not
        kept.
    """
    lines = [
        f"{output}  {output.stat().st_size / 1e6:.2f} MB, {manifest.engine['precision']} engine",
        *report,
    ]
    if unverified:
        remedy = "the ONNX model that this takes was not kept: build again with -o model.onnx too"
        if onnx is not None:
            remedy = (
                f"vm-inspect {output} --verify does it on the machine with the GPU, "
                f"{onnx.name} beside it"
            )
        return [*lines, f"unverified {unverified}; {remedy}"]
    return lines + error_lines("checked", manifest.engine["verification"], "onnxruntime")
