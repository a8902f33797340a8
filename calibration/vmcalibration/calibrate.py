"""From a model and pairs of scans to a recommendation, the file it is about, and a report."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from vmcalibration.decision import Decision
from vmcalibration.errors import CalibrationError
from vmcalibration.measuring import measure
from vmcalibration.options import CalibrationOptions
from vmcalibration.pairs import PairFiles, read_pairs
from vmcalibration.report import write_reports
from vmcalibration.result import write_recommended
from vmcalibration.state import State, key_of
from vmexport.engine.source import is_artifact
from vmexport.precision import find_layers
from vmruntime.artifact import Artifact
from vmruntime.errors import ArtifactError, OutputError
from vmruntime.io.outputs import Outputs
from vmruntime.version import __version__

__all__ = ["Calibrated", "calibrate"]

Announce = Callable[[str], None]


@dataclass(frozen=True)
class Calibrated:
    """What came of a calibration.

    Parameters
    ----------
    decision
        The recommendation.
    model
        The recommended file.
    report
        What ``report.json`` holds.
    skipped
        Pairs that could not be used, and why.
    """

    decision: Decision
    model: Path
    report: dict[str, Any]
    skipped: dict[str, str]


def calibrate(
    source: str | os.PathLike[str],
    pairs: str | os.PathLike[str] | Sequence[PairFiles],
    output: str | os.PathLike[str],
    options: CalibrationOptions | None = None,
    *,
    force: bool = False,
    progress: Announce | None = None,
    warn: Announce | None = None,
) -> Calibrated:
    """Find out which precision is safe for a model, and make its file.

    One pair is in memory at a time. What was found is kept in ``OUTPUT/state`` until all is done: a
    call that was stopped, with the same model, pairs and options, goes on where it was.

    Parameters
    ----------
    source
        ``model.onnx`` in float32, or a checkpoint, which is exported as ``vm-export`` does without
        options.
    pairs
        What `read_pairs` takes, or gave.
    output
        Folder to write into; made if need be.
    options
        `CalibrationOptions`; the defaults where None.
    force
        Replace existing files.
    progress
        Called with what begins now.
    warn
        Called with a line about each pair that cannot be used.

    Raises
    ------
    CalibrationError
        There are no pairs, none of them can be used, or the model is not one to calibrate.
    ArtifactError, CheckpointError, ExportError
        The model cannot be used.
    OutputError
        A file exists or cannot be written.
    """
    options = options or CalibrationOptions()
    announce, warn = progress or (lambda _: None), warn or (lambda _: None)
    listed = tuple(pairs) if isinstance(pairs, (list, tuple)) else read_pairs(pairs)  # type: ignore[arg-type]
    if not listed:
        raise CalibrationError("there are no pairs to calibrate with; give at least one")
    folder = Path(output)
    made = _make_folder(folder)
    try:
        with Outputs(force=force) as outputs:
            files = {name: outputs.file(folder / name) for name in ("report.json", "report.html")}
            plans = {
                lower: outputs.file(folder / f"plan_{lower}.json")
                for lower in ("fp16", "int8")
                if options.tries(lower)
            }
            _require_free(folder, force)
            artifact = _artifact(source, folder, announce)
            key = key_of(artifact.model, _listing(listed), repr(options), __version__)
            state = State(folder / "state", key)
            if state.resumed:
                announce(f"going on with what is in {state.folder}")
            measured = measure(artifact, listed, options, state, announce, warn)
            announce("writing the recommended model")
            path = write_recommended(measured, artifact, folder, outputs, options, announce)
            for lower, planned in measured.plans.planned.items():
                plans[lower].write_text(planned.plan.to_json())
            announce("drawing the report")
            report = write_reports(measured, artifact, path, options, files)
        state.remove()
    except BaseException:
        if made and not any(folder.iterdir()):
            folder.rmdir()
        raise
    return Calibrated(measured.decision, path, report, dict(measured.skipped))


def _make_folder(folder: Path) -> bool:
    """Make the folder; whether it was not there."""
    if folder.is_dir():
        return False
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror})") from error
    return True


def _require_free(folder: Path, force: bool) -> None:
    """Which of these will be written is known only after all the work."""
    existing = sorted(folder.glob("model_*.onnx"))
    if existing and not force:
        raise OutputError(f"{existing[0]}: exists already; choose another -o or pass --force")


def _artifact(source: str | os.PathLike[str], folder: Path, announce: Announce) -> Artifact:
    """The float32 model to calibrate."""
    path = Path(source)
    if not is_artifact(path):
        if not path.exists():
            raise ArtifactError(f"{path}: no such file; a model.onnx or a checkpoint is expected")
        from vmcalibration.from_checkpoint import exported

        return exported(path, announce)
    artifact = Artifact.read(path)
    if artifact.kind != "onnx":
        raise CalibrationError(f"{path}: is an engine; give the float32 model.onnx it is made from")
    precision = artifact.manifest.precision
    if precision != "fp32":
        raise CalibrationError(
            f"{path}: is {precision} already, what was rounded away is gone; give the float32 model"
        )
    if (artifact.manifest.moving_channels, artifact.manifest.fixed_channels) != (1, 1):
        raise CalibrationError(f"{path}: takes several channels; scans of one are calibrated with")
    find_layers(onnx.load_from_string(artifact.model))  # refuses what is quantized all the same
    return artifact


def _listing(pairs: Sequence[PairFiles]) -> str:
    """The pairs, and whether their files changed."""
    lines = []
    for pair in pairs:
        for name, value in vars(pair).items():
            lines.append(f"{name} {value}")
            if isinstance(value, Path) and value.exists():
                found = value.stat()
                lines.append(f"{found.st_size} {found.st_mtime_ns}")
    return "\n".join(lines)
