"""What is remembered about plans on this machine: verified on a GPU here, or told that not yet.

A plan that was built where there was no GPU says in its manifest that nothing has verified it. The
file is not changed when that is made up for: a record in the user's cache says so, under the hash
of the file.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from vmruntime.artifact import Artifact
from vmruntime.cuda.cache import cache_folder, read_cached, write_cached

__all__ = ["is_verified", "record_verified", "unverified_notice"]


def is_verified(artifact: Artifact) -> bool:
    """Whether a plan was compared with onnxruntime on a GPU, when built or here; an ONNX always."""
    if artifact.kind == "onnx" or artifact.manifest.engine["verified"]:
        return True
    return "verified" in _read(artifact)


def record_verified(artifact: Artifact, report: dict[str, Any]) -> bool:
    """Remember what a verification on this machine measured; False where that cannot be."""
    return _write(artifact, {"verified": report})


def unverified_notice(artifact: Artifact) -> str | None:
    """One line about a plan that nothing has verified, the first time it is asked for; else None.

    Where the cache cannot be written it is given each time.
    """
    if is_verified(artifact) or "told" in _read(artifact):
        return None
    _write(artifact, {"told": True})
    return (
        f"{artifact.path} was built without a GPU and nothing has verified it yet; run "
        f"vm-inspect {artifact.path} --verify on this machine (this is said once)"
    )


def _folder() -> Path:
    return cache_folder().parent / "plans"


def _name(artifact: Artifact) -> str:
    return f"{hashlib.sha256(artifact.model).hexdigest()}.json"


def _read(artifact: Artifact) -> dict[str, Any]:
    stored = read_cached(_folder(), _name(artifact))
    values = json.loads(stored) if stored else {}
    return values if isinstance(values, dict) else {}


def _write(artifact: Artifact, values: dict[str, Any]) -> bool:
    return write_cached(_folder(), _name(artifact), json.dumps(values).encode())
