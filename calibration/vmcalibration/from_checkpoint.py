"""A checkpoint as the float32 artifact to calibrate."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from vmruntime.artifact import Artifact
from vmruntime.errors import MissingDependencyError

__all__ = ["exported"]


def exported(checkpoint: Path, announce: Callable[[str], None]) -> Artifact:
    """Export a checkpoint as vm-export does without options, verified.

    Raises
    ------
    CheckpointError, ExportError, VerificationError
        As `export_artifact` raises them.
    MissingDependencyError
        PyTorch is not installed.
    """
    try:
        from vmexport.artifact import export_artifact
    except ImportError as error:
        raise MissingDependencyError(
            f"a checkpoint needs {error.name}: pip install 'voxelmorph-deploy[export]', or give a "
            "model.onnx"
        ) from error
    with tempfile.TemporaryDirectory(prefix="vm-calibrate-") as folder:
        path = Path(folder) / f"{checkpoint.stem}.onnx"
        export_artifact(checkpoint, path, progress=announce)
        return Artifact.read(path)
