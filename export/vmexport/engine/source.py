"""Telling an exported model from a checkpoint."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["is_artifact"]


def is_artifact(path: str | os.PathLike[str]) -> bool:
    """Whether a file is to be read as an ONNX model: by its name, or by how ONNX models begin."""
    path = Path(path)
    if path.suffix.lower() == ".onnx":
        return True
    try:
        with open(path, "rb") as file:
            return file.read(1) == b"\x08"  # the tag of ModelProto's ir_version
    except OSError:
        return False  # whatever reads it as a checkpoint says what is wrong
