"""The file that vm-export makes, as the runtime reads it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vmruntime.errors import ArtifactError, ManifestError
from vmruntime.manifest import MANIFEST_KEY, Manifest
from vmruntime.onnx_file import read_metadata
from vmruntime.plan_file import is_plan, read_plan_manifest

__all__ = ["Artifact"]


@dataclass(frozen=True)
class Artifact:
    """A registration model with its manifest.

    Parameters
    ----------
    path
        The file.
    model
        Its bytes.
    manifest
        What it says about itself.
    kind
        ``"onnx"``, or ``"plan"``: an engine built by TensorRT or TensorRT-RTX.
    """

    path: Path
    model: bytes
    manifest: Manifest
    kind: Literal["onnx", "plan"] = "onnx"

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Artifact:
        """Read an artifact without any inference engine.

        What the file is, is told from its content.

        Raises
        ------
        ArtifactError
            Missing or unreadable file, or neither an ONNX model nor a plan.
        ManifestError
            No manifest, a malformed one, or one of a newer version.
        """
        name = os.fspath(path)
        try:
            model = Path(path).read_bytes()
        except FileNotFoundError:
            raise ArtifactError(f"{name}: no such file; make one with vm-export") from None
        except OSError as error:
            raise ArtifactError(f"{name}: cannot be read ({error.strerror})") from error
        if not model:
            raise ArtifactError(f"{name}: the file is empty; make one with vm-export")
        try:
            plan = is_plan(model)
            manifest = Manifest.from_json(read_plan_manifest(model) if plan else _of_onnx(model))
        except ArtifactError as error:
            if name.endswith(".plan") and not plan and type(error) is ArtifactError:
                raise ArtifactError(
                    f"{name}: is neither a TensorRT plan nor an ONNX model, or is damaged; make "
                    "one with vm-export --engine"
                ) from None
            raise type(error)(f"{name}: {error}") from None
        return cls(Path(path), model, manifest, "plan" if plan else "onnx")


def _of_onnx(model: bytes) -> str:
    metadata = read_metadata(model)
    if MANIFEST_KEY not in metadata:
        raise ManifestError(
            "is an ONNX model without a manifest, so its grid and intensities are unknown; "
            "make the file from the checkpoint with vm-export"
        )
    return metadata[MANIFEST_KEY]
