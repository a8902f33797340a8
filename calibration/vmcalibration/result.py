"""The recommended file, verified."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from vmcalibration.loading import load_pair
from vmcalibration.measuring import Measured
from vmcalibration.options import CalibrationOptions
from vmexport.precision import PrecisionPlan, convert_with_plan
from vmruntime.artifact import Artifact
from vmruntime.io.outputs import Outputs

__all__ = ["recommended_plan", "write_recommended"]


def write_recommended(
    measured: Measured,
    artifact: Artifact,
    folder: Path,
    outputs: Outputs,
    options: CalibrationOptions,
    announce: Callable[[str], None],
) -> Path:
    """Write the recommended model and verify it on the first pair, as ``vm-export`` does.

    Returns
    -------
    Path
        The file; it gets this name when the outputs do.
    """
    plan = recommended_plan(measured)
    # bfloat16 has no file of its own: engines compute the float32 model in it.
    precision = plan.precision if plan is not None else "fp32"
    final = folder / f"model_{precision}.onnx"
    temporary = outputs.file(final, (".onnx",))
    if plan is None or precision == "fp32":
        temporary.write_bytes(artifact.model)
        return final
    pair = load_pair(measured.used[0], artifact.manifest, measured.threads, options.intensity)
    named = replace(pair, name="calibration")  # a file's name does not belong into the manifest
    convert_with_plan(
        artifact, temporary, plan, [named], announce=announce, threads=measured.threads
    )
    return final


def recommended_plan(measured: Measured) -> PrecisionPlan | None:
    """The recommended candidate's plan; None for float32 and bfloat16."""
    best = measured.decision.recommended
    return next(c.plan for c in measured.candidates if c.name == best)
