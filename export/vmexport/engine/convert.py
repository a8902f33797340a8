"""An artifact in float32 as one whose U-Net is in float16."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import onnx

from vmexport.engine.half_precision import to_half
from vmexport.errors import ExportError
from vmexport.graph.manifest_props import with_manifest
from vmexport.precision.rounding import faithful
from vmexport.verification import Limits, Pair, compare, run_backend
from vmexport.verification.compare import Outputs
from vmruntime.artifact import Artifact
from vmruntime.backends.onnxruntime import OnnxRuntimeBackend

__all__ = ["convert_precision"]


def convert_precision(
    artifact: Artifact,
    output: Path,
    precision: str,
    pairs: Sequence[Pair],
    limits: Limits,
    announce: Callable[[str], None] = lambda _: None,
) -> Artifact:
    """Write an artifact in another precision, verified against the one that it is made from.

    Parameters
    ----------
    artifact
        An ONNX model.
    output
        File to write; it exists afterwards even where verification fails.
    precision
        ``"fp32"`` or ``"fp16"``. The artifact's own changes nothing.
    pairs
        The scans to verify on, the report's first.
    limits
        What the displacements may differ by.
    announce
        Called with what begins now.

    Raises
    ------
    ExportError
        What was rounded to float16 cannot be had in float32.
    VerificationError
        The result differs by more than the limit.
    """
    if precision == artifact.manifest.precision:
        output.write_bytes(artifact.model)
        return Artifact.read(output)
    if precision == "fp32":
        raise ExportError(
            f"{artifact.path}: is in fp16, and what was rounded away is gone; export the "
            "checkpoint in fp32, or leave --precision out"
        )
    announce("converting the U-Net to float16")
    model = to_half(onnx.load_from_string(artifact.model))
    manifest = replace(artifact.manifest, precision=precision)
    output.write_bytes(with_manifest(model, manifest))
    announce("verifying against the float32 model")
    reports = []
    for pair in pairs:
        expected, _ = _outputs(artifact, pair)
        found, engine = _outputs(faithful(Artifact.read(output)), pair)
        report = compare(
            expected, found, pair, manifest.voxel_size, limits,
            engine=engine, source="float32 model",
        )  # fmt: skip
        reports.append({**report, "against": f"the float32 model on {engine}"})
    output.write_bytes(with_manifest(model, replace(manifest, verification=reports[0])))
    return Artifact.read(output)


def _outputs(artifact: Artifact, pair: Pair) -> tuple[Outputs, str]:
    backend = OnnxRuntimeBackend(artifact, arena=False)
    try:
        return run_backend(backend, pair), f"{backend.name} {backend.version} {backend.device}"
    finally:
        backend.close()
