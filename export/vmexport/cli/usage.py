"""Options of ``vm-export`` that do not go together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

__all__ = ["check_usage"]

OF_CHECKPOINTS = ("shape", "dynamic", "orientation", "voxel_size", "intensity")
OF_ENGINES = (
    "target", "warp", "compute_capability", "min_shape", "opt_shape", "max_shape", "workspace",
    "timing_cache", "version_compatible", "hardware_compatible",
)  # fmt: skip
OF_TRITON = ("triton_name", "triton_device")
OF_PLANS = ("triton", *OF_TRITON, "force", "verbose", "source")
"""What can be said of a plan that there is already."""


def check_usage(
    ctx: click.Context, given: dict[str, Any], *, exported: bool, plan: bool = False
) -> None:
    """Refuse options that do not go together.

    Parameters
    ----------
    ctx
        The command's.
    given
        Its options.
    exported
        Whether the source is an ONNX model.
    plan
        Whether it is a plan.

    Raises
    ------
    click.UsageError
        With what to give instead.
    """
    names = {parameter.name: parameter.opts[-1] for parameter in ctx.command.params}
    named = [
        name
        for name in given
        if ctx.get_parameter_source(name) not in (ParameterSource.DEFAULT, None)
    ]
    for name in named:
        if given["triton"] is None and name in OF_TRITON:
            raise click.UsageError(f"{names[name]} is for Triton: give --triton DIR")
    if plan:
        if given["triton"] is None:
            raise click.UsageError(
                "the source is an engine: it can be given to --triton DIR, and run with vm-infer; "
                "engines are built from a checkpoint or a model.onnx"
            )
        for name in named:
            if name not in OF_PLANS:
                raise click.UsageError(f"{names[name]} is too late for an engine that is built")
        return
    if given["engine"] is None:
        for name in named:
            if name in OF_ENGINES:
                raise click.UsageError(f"{names[name]} is for an engine: give --engine model.plan")
        if given["output"] is None and given["triton"] is None:
            raise click.UsageError("give -o model.onnx, --engine model.plan, or both")
        wanted = ("precision", "precision_plan", "triton")
        if exported and all(given[name] is None for name in wanted):
            raise click.UsageError(
                "the source is exported already: give --precision or --engine, or a "
                "--precision-plan"
            )
    elif given["triton"] is not None and given["triton_device"] == "cpu":
        raise click.UsageError("an engine runs on GPUs only: leave --triton-device or --engine out")
    if given["precision"] is not None and given["precision_plan"] is not None:
        raise click.UsageError("--precision-plan says the precision: leave --precision out")
    if exported:
        for name in named:
            if name in OF_CHECKPOINTS:
                raise click.UsageError(
                    f"{names[name]} is for a checkpoint; the model.onnx has it fixed"
                )
    shapes = [name for name in named if name in ("min_shape", "opt_shape", "max_shape")]
    if shapes and not (_is_free(ctx.params["source"]) if exported else given["dynamic"]):
        raise click.UsageError(f"{names[shapes[0]]} is for a model exported with --dynamic")


def _is_free(path: Path) -> bool:
    from vmruntime.artifact import Artifact

    return Artifact.read(path).manifest.shape is None
