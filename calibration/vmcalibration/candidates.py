"""The number formats that are measured, as files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import onnx
from onnx import TensorProto

from vmexport.engine.half_precision import to_half
from vmexport.graph.manifest_props import with_manifest
from vmexport.precision import Layer, PrecisionPlan, apply_plan, as_rounded, faithful
from vmruntime.artifact import Artifact

__all__ = ["Candidate", "Run", "bf16_candidate", "ends", "float32_candidate", "planned_candidate"]


@dataclass(frozen=True, eq=False)
class Run:
    """One way to run a candidate.

    Parameters
    ----------
    how
        For people.
    artifact
        What is run.
    backend, precision
        As `open_backend` takes them.
    """

    how: str
    artifact: Artifact
    backend: str
    precision: str = "auto"


@dataclass(frozen=True, eq=False)
class Candidate:
    """A number format for the model.

    Parameters
    ----------
    name
        ``"fp32"``, ``"fp16"``, ``"mixed"``, ``"bf16"``, ``"int8"``, or ``"int8-all"``.
    title
        For people.
    runs
        The ways to run it; the worst figures count.
    timed
        The one that seconds and memory are measured with; None where this machine has none.
    plan
        What it was made by; None for float32 and bfloat16.
    note
        What has to be known of it; may be empty.
    """

    name: str
    title: str
    runs: tuple[Run, ...]
    timed: Run | None
    plan: PrecisionPlan | None = None
    note: str = ""

    @property
    def bytes(self) -> int:
        """Size of its file."""
        return len((self.timed or self.runs[0]).artifact.model)


def float32_candidate(artifact: Artifact, backend: str) -> Candidate:
    """The model as it is: what all others are measured against."""
    run = Run("float32", artifact, backend, "fp32")
    return Candidate("fp32", "FP32", (run,), run)


def planned_candidate(
    model: onnx.ModelProto,
    artifact: Artifact,
    plan: PrecisionPlan,
    folder: Path,
    backend: str,
    name: str | None = None,
) -> Candidate:
    """What a plan makes of the model, written into a folder."""
    name = name or plan.precision
    path = folder / f"model_{name}.onnx"
    manifest = replace(artifact.manifest, precision=plan.precision)
    path.write_bytes(with_manifest(apply_plan(model, plan), manifest))
    made = Artifact.read(path)
    run = Run("as vm-infer runs it", made, backend)
    runs = [run]
    rounding = faithful(made)
    if rounding is not made:
        runs.append(Run("every tensor rounded", rounding, "onnxruntime"))
    kept = f", {len(plan.kept)} of {len(plan.layers)} layers FP32" if plan.kept else ""
    title = f"{'INT8' if plan.lower == 'int8' else 'FP16'}{kept}"
    return Candidate(name, title, tuple(runs), run, plan)


def bf16_candidate(model: onnx.ModelProto, artifact: Artifact, native: bool) -> Candidate:
    """bfloat16: no file of its own, OpenVINO computes the float32 file in it.

    Where the processor has no bfloat16, its error is found by rounding, and there are no seconds:
    OpenVINO refuses it there or emulates it more slowly than float32.
    """
    if native:
        run = Run("as vm-infer runs it", artifact, "openvino", "bf16")
        note = "vm-infer --precision bf16 computes the FP32 file in it"
        return Candidate("bf16", "BF16", (run,), run, None, note)
    rounded = _replaced(artifact, as_rounded(to_half(model, (), TensorProto.BFLOAT16)))
    run = Run("every tensor rounded", rounded, "onnxruntime", "auto")
    note = "this processor has no bfloat16: the error is simulated, and there are no seconds"
    return Candidate("bf16", "BF16 (simulated)", (run,), None, None, note)


def ends(layers: tuple[Layer, ...], model: onnx.ModelProto) -> set[str]:
    """The layers that INT8 leaves alone from the start: those that read the scans, and the head.

    With two channels in or three out they have a hundredth of the work in a form INT8 kernels are
    bad at, and each of them costs more accuracy than most others (docs/calibration.md).
    """
    inputs = {given.name for given in model.graph.input}
    made = {node.output[0]: node for node in model.graph.node}

    def reads_scans(layer: Layer) -> bool:
        maker = made.get(layer.source)
        return layer.source in inputs or (maker is not None and set(maker.input) <= inputs)

    return {layer.name for layer in layers if layer.is_head or reads_scans(layer)}


def _replaced(artifact: Artifact, model: onnx.ModelProto) -> Artifact:
    return replace(artifact, model=model.SerializeToString())
