"""Compiled kernels kept in the user's cache folder, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

__all__ = ["cache_folder", "read_cached", "write_cached"]

DIGEST = hashlib.sha256().digest_size


def cache_folder() -> Path:
    """``voxelmorph-deploy/kernels`` in ``$XDG_CACHE_HOME``, else in ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return Path(base) / "voxelmorph-deploy" / "kernels"


def read_cached(folder: Path, name: str) -> bytes | None:
    """What was kept under a name; None where nothing was, or where it is damaged."""
    try:
        stored = (folder / name).read_bytes()
    except OSError:
        return None
    digest, content = stored[:DIGEST], stored[DIGEST:]
    return content if content and hashlib.sha256(content).digest() == digest else None


def write_cached(folder: Path, name: str, content: bytes) -> bool:
    """Keep something under a name, in place of what was there; False where that cannot be.

    A cache that cannot be written (a read-only home folder, a full disk) costs time, no result:
    that is why it is no error.
    """
    temporary = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
        with open(handle, "wb") as stream:
            stream.write(hashlib.sha256(content).digest() + content)
        os.replace(temporary, folder / name)  # noqa: PTH105 - mkstemp gives a str
    except OSError:
        if temporary is not None:
            with suppress(OSError):
                Path(temporary).unlink()
        return False
    return True
