"""From a checkpoint or an artifact to an engine in a file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vmexport.engine.build import BuiltEngine, build_engine
from vmexport.engine.convert import convert_precision
from vmexport.engine.options import EngineOptions, Shape
from vmexport.engine.report import BuildReport
from vmexport.engine.source import is_artifact
from vmexport.engine.toolkit import find_toolkit
from vmexport.engine.verify_engine import SPARE_BYTES, as_verified, verify_engine, why_unverified
from vmexport.errors import ExportError
from vmexport.precision import PrecisionPlan, convert_with_plan, plan_limits
from vmexport.verification import Limits, Pair, VerifyOn, choose_pair, phantom_pair
from vmruntime.artifact import Artifact
from vmruntime.backends import open_backend
from vmruntime.cuda.probe import probe
from vmruntime.io.outputs import Outputs
from vmruntime.manifest import Manifest

if TYPE_CHECKING:
    from vmexport.artifact import ExportOptions

__all__ = ["Compiled", "compile_engine", "convert_artifact"]

PLAN_SUFFIXES = (".plan", ".engine")
Announce = Callable[[str], None]


@dataclass(frozen=True)
class Compiled:
    """What was made.

    Parameters
    ----------
    manifest
        As it stands in the plan.
    report
        What the build was like.
    unverified
        Why the engine was not verified; empty where it was.
    """

    manifest: Manifest
    report: BuildReport
    unverified: str


def compile_engine(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    options: EngineOptions | None = None,
    *,
    export: ExportOptions | None = None,
    precision: str | None = None,
    limits: tuple[float | None, float | None] = (None, None),
    artifact_output: str | os.PathLike[str] | None = None,
    scans: VerifyOn | None = None,
    force: bool = False,
    progress: Announce | None = None,
    plan: PrecisionPlan | None = None,
) -> Compiled:
    """Compile a checkpoint or an artifact into an engine, and verify it where a GPU allows.

    Parameters
    ----------
    source
        Checkpoint, or ``model.onnx``.
    output
        The plan (``.plan`` or ``.engine``).
    options
        What the engine is to be like; the defaults where None.
    export
        For a checkpoint: what the artifact is to be like, precision and limits included.
    precision, limits
        For an artifact: ``"fp16"`` or ``"fp32"``, its own where None; largest and 99 % error to
        accept in voxels, the precision's usual ones where None.
    artifact_output
        Where to keep the ``.onnx`` that the engine is built from; None for nowhere.
    scans
        What to verify on; a phantom where None.
    force
        Replace existing files.
    progress
        Called with what begins now, also from another thread.
    plan
        The number format of each layer, instead of `precision`.

    Raises
    ------
    EngineBuildError, MissingDependencyError
        The engine cannot be built as asked, or what builds it is not installed.
    ExportError, CheckpointError, ArtifactError
        The source cannot be used.
    VerificationError
        The artifact, its conversion or the engine is over its limit.
    OutputError
        A file exists or cannot be written.
    """
    announce = progress or (lambda _: None)
    options, scans = options or EngineOptions(), scans or VerifyOn()
    with ExitStack() as stack:
        outputs = stack.enter_context(Outputs(force=force))
        engine = outputs.file(output, PLAN_SUFFIXES)
        if artifact_output is not None:
            model = outputs.file(artifact_output, (".onnx",))
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="vm-export-"))
            model = Path(folder) / "model.onnx"
        # What is cheap to find out comes before minutes of work.
        toolkit = find_toolkit(options.target, announce)
        toolkit.check(options)
        if is_artifact(source):
            artifact = Artifact.read(source)
            free = artifact.manifest.shape is None
            options.require_shapes(free)
            shape = options.opt_shape
            artifact = convert_artifact(
                artifact, model, precision, limits, shape, scans, announce, plan
            )
        else:
            from vmexport.artifact import ExportOptions, export_artifact

            export = export or ExportOptions()
            if export.dynamic:
                options = replace(options, opt_shape=options.opt_shape or export.shape)
            options.require_shapes(export.dynamic)
            limits = (export.max_error, export.p99_error)
            export_artifact(
                source, model, export, force=True, progress=announce,
                verify_moving=scans.moving, verify_fixed=scans.fixed,
                verify_moving_labels=scans.moving_labels, verify_fixed_labels=scans.fixed_labels,
                plan=plan,
            )  # fmt: skip
            artifact = Artifact.read(model)
        spare = SPARE_BYTES if probe().devices else 0
        built = build_engine(artifact, toolkit, options, announce, spare)
        engine.write_bytes(built.plan)
        reason = why_unverified(built.report.gpus)
        if not reason:
            announce("verifying the engine against onnxruntime")
            found = Limits.of(artifact.manifest.precision, *limits)
            pair = _pairs(artifact.manifest, options.opt_shape, scans)[0]
            built = _verified(built, artifact, engine, pair, found)
        if options.timing_cache is not None and built.timing_cache is not None:
            caches = stack.enter_context(Outputs(force=True))
            caches.file(options.timing_cache).write_bytes(built.timing_cache)
    return Compiled(built.manifest, built.report, reason)


def convert_artifact(
    artifact: Artifact,
    output: Path,
    precision: str | None,
    limits: tuple[float | None, float | None],
    shape: Shape | None,
    scans: VerifyOn,
    announce: Announce,
    plan: PrecisionPlan | None = None,
) -> Artifact:
    """An artifact in the precision that was asked for, in `output`; see `convert_precision`.

    Parameters
    ----------
    shape
        Grid to verify on where the model's is free.
    plan
        The number format of each layer, instead of `precision`.
    """
    if plan is not None:
        pairs = _pairs(artifact.manifest, shape, scans)
        largest = plan_limits(plan, *limits)
        return convert_with_plan(artifact, output, plan, pairs, largest, announce)
    wanted = precision or artifact.manifest.precision
    if artifact.kind != "onnx":
        raise ExportError(
            f"{artifact.path}: is an engine already; engines are built from model.onnx"
        )
    found = Limits.of(wanted, *limits)
    changes = wanted != artifact.manifest.precision
    pairs = _pairs(artifact.manifest, shape, scans) if changes else []
    return convert_precision(artifact, output, wanted, pairs, found, announce)


def _pairs(manifest: Manifest, shape: Shape | None, scans: VerifyOn) -> list[Pair]:
    """What to verify on; for a free grid, an odd one too."""
    grid = manifest.shape or shape
    if grid is None:
        grid = (8 * manifest.stride, 8 * manifest.stride, 8 * manifest.stride)
    pairs = [choose_pair(manifest, grid, scans)]
    if manifest.shape is None:
        other = (2 * manifest.stride, 3 * manifest.stride, 4 * manifest.stride)
        pairs.append(phantom_pair(other, (manifest.moving_channels, manifest.fixed_channels)))
    return pairs


def _verified(
    built: BuiltEngine, artifact: Artifact, plan: Path, pair: Pair, limits: Limits
) -> BuiltEngine:
    """Verify the engine in its file, and write down there that it was. Unverified: needs a GPU."""
    built = as_verified(built, verify_engine(artifact, plan, pair, limits))
    plan.write_bytes(built.plan)
    open_backend(Artifact.read(plan), "auto", "cuda").close()  # it still loads
    return built
