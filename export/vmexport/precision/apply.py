"""Making the ONNX that a precision plan says, and verifying it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import onnx

from vmexport.engine.half_precision import to_half
from vmexport.errors import ExportError
from vmexport.graph.manifest_props import with_manifest
from vmexport.precision.layers import find_layers
from vmexport.precision.plan import PrecisionPlan
from vmexport.precision.quantize import to_int8
from vmexport.precision.rounding import faithful
from vmexport.verification import Limits, Pair, compare, run_backend
from vmexport.verification.compare import Outputs
from vmruntime.artifact import Artifact
from vmruntime.backends.onnxruntime import OnnxRuntimeBackend

__all__ = ["apply_plan", "convert_with_plan", "plan_limits"]


def apply_plan(model: onnx.ModelProto, plan: PrecisionPlan) -> onnx.ModelProto:
    """A float32 artifact's model in the number formats of a plan.

    Parameters
    ----------
    model
        An artifact's, in float32. It is not changed.
    plan
        Says a format for every layer of this model.

    Raises
    ------
    ExportError
        The plan is for another model, or cannot be followed.
    """
    layers = find_layers(model)
    _require_match([layer.name for layer in layers], list(plan.layers))
    if plan.precision == "fp32":
        return model
    if plan.lower == "int8":
        low = [name for name, kind in plan.layers.items() if kind == "int8"]
        return to_int8(model, {name: plan.thresholds[name] for name in low})
    return to_half(model, [layer.result for layer in layers if plan.layers[layer.name] == "fp32"])


def convert_with_plan(
    artifact: Artifact,
    output: Path,
    plan: PrecisionPlan,
    pairs: Sequence[Pair],
    limits: Limits | None = None,
    announce: Callable[[str], None] = lambda _: None,
    threads: int | None = None,
) -> Artifact:
    """Write an artifact as a plan says, verified against the float32 one that it is made from.

    Parameters
    ----------
    artifact
        An ONNX model in float32.
    output
        File to write; it exists afterwards even where verification fails.
    plan
        The plan.
    pairs
        The scans to verify on, the manifest's first.
    limits
        What the displacements may differ by; the plan's own where None.
    announce
        Called with what begins now.
    threads
        Threads of onnxruntime; None for all cores.

    Raises
    ------
    ExportError
        The artifact is not in float32, or the plan is for another model.
    VerificationError
        The result differs by more than the limit.
    """
    if artifact.kind != "onnx" or artifact.manifest.precision != "fp32":
        raise ExportError(
            f"{artifact.path}: is {artifact.manifest.precision} already; a precision plan is for "
            "the float32 model.onnx"
        )
    announce(f"following the precision plan ({plan.precision})")
    model = apply_plan(onnx.load_from_string(artifact.model), plan)
    source = {**artifact.manifest.source}
    source["precision_plan_sha256"] = hashlib.sha256(plan.to_json().encode()).hexdigest()
    manifest = replace(artifact.manifest, precision=plan.precision, source=source)
    output.write_bytes(with_manifest(model, manifest))
    announce("verifying against the float32 model")
    reports = []
    for pair in pairs:
        expected, _ = _outputs(artifact, pair, threads)
        found, engine = _outputs(faithful(Artifact.read(output)), pair, threads)
        report = compare(
            expected, found, pair, manifest.voxel_size, limits or plan_limits(plan),
            engine=engine, source="float32 model",
        )  # fmt: skip
        reports.append({**report, "against": f"the float32 model on {engine}"})
    if reports:
        manifest = replace(manifest, verification=reports[0])
        output.write_bytes(with_manifest(model, manifest))
    return Artifact.read(output)


def plan_limits(
    plan: PrecisionPlan, largest: float | None = None, p99: float | None = None
) -> Limits:
    """What a model made by a plan may differ by from float32: as given, or as the plan says."""
    return Limits.of(
        plan.precision,
        plan.max_voxels if largest is None else largest,
        plan.p99_voxels if p99 is None else p99,
    )


def _require_match(found: list[str], planned: list[str]) -> None:
    strangers = [name for name in planned if name not in found]
    missing = [name for name in found if name not in planned]
    if strangers or missing:
        what = f"has no layer {strangers[0]!r}" if strangers else f"has a layer {missing[0]!r} more"
        raise ExportError(
            f"the precision plan is for another model: this one {what}; make one with vm-calibrate"
        )


def _outputs(artifact: Artifact, pair: Pair, threads: int | None) -> tuple[Outputs, str]:
    backend = OnnxRuntimeBackend(artifact, threads=threads, arena=False)
    try:
        return run_backend(backend, pair), f"{backend.name} {backend.version} {backend.device}"
    finally:
        backend.close()
