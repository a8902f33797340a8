"""Compiled models between runs, in the user's cache folder.

A cache may be missing, read-only or full, and the run goes on without it: it saves a tenth of a
second, never an answer. A damaged entry is noticed by its checksum, which an engine's own loader
might not survive.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

__all__ = ["ModelCache"]

ENTRIES = 32
"""Kept in the folder at most; an entry has one to two megabytes."""

DIGEST = hashlib.sha256().digest_size


class ModelCache:
    """Bytes by key, in ``$VM_CACHE``, or else in ``voxelmorph-deploy`` of the user's cache folder.

    Parameters
    ----------
    folder
        Another folder.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = Path(folder) if folder is not None else _default_folder()

    @staticmethod
    def key(*parts: bytes | str) -> str:
        """A name for everything that a compiled model depends on."""
        digest = hashlib.sha256()
        for part in parts:
            content = part.encode() if isinstance(part, str) else part
            digest.update(len(content).to_bytes(8, "little") + content)
        return digest.hexdigest()

    def get(self, key: str) -> bytes | None:
        """What was stored, or None where it is not there, not readable or damaged."""
        if self.folder is None:
            return None
        try:
            content = (self.folder / f"{key}.model").read_bytes()
        except OSError:
            return None
        body = content[DIGEST:]
        return body if content[:DIGEST] == hashlib.sha256(body).digest() else None

    def put(self, key: str, body: bytes) -> bool:
        """Store something, whole or not at all; whether it could be stored."""
        if self.folder is None:
            return False
        temporary: Path | None = None
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make_room(self.folder)
            handle, name = tempfile.mkstemp(dir=self.folder)
            temporary = Path(name)
            with open(handle, "wb") as file:
                file.write(hashlib.sha256(body).digest() + body)
            temporary.replace(self.folder / f"{key}.model")
        except OSError:
            return False
        finally:
            if temporary:
                temporary.unlink(missing_ok=True)
        return True


def _make_room(folder: Path) -> None:
    entries = sorted(folder.glob("*.model"), key=_age)
    for entry in entries[: max(0, len(entries) - ENTRIES + 1)]:
        entry.unlink(missing_ok=True)


def _age(entry: Path) -> float:
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:  # another process made room at the same time
        return 0.0


def _default_folder() -> Path | None:
    """The user's, or None where there is no such folder: a relative name would be made here."""
    given, caches = os.environ.get("VM_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if given:
        folder = Path(given)
    elif caches:
        folder = Path(caches) / "voxelmorph-deploy"
    else:
        try:
            folder = Path.home() / ".cache" / "voxelmorph-deploy"
        except RuntimeError:
            return None
    return folder if folder.is_absolute() else None
