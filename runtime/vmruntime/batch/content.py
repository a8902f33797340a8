"""What files hold, as a digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vmruntime.errors import ScanError

__all__ = ["Content", "content_of", "require_unchanged"]


@dataclass(frozen=True)
class Content:
    """What a file held when it was looked at.

    Parameters
    ----------
    digest
        SHA-256 of its bytes, hexadecimal.
    state
        Inode, size and time of change of its parts, which tell that it was changed meanwhile.
    """

    digest: str
    state: tuple[tuple[int, int, int], ...]


def content_of(path: Path) -> Content:
    """Read a file and say what it holds; of an Analyze pair both files.

    Raises
    ------
    ScanError
        It cannot be read.
    """
    digest = hashlib.sha256()
    try:
        state = _state(path)
        for part in _parts(path):
            with open(part, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    except FileNotFoundError:
        raise ScanError(f"{path}: no such file") from None
    except OSError as error:
        raise ScanError(f"{path}: cannot be read ({error.strerror})") from error
    return Content(digest.hexdigest(), state)


def require_unchanged(path: Path, content: Content) -> None:
    """Raise `ScanError` where a file was changed since `content` was read of it."""
    try:
        same = _state(path) == content.state
    except OSError:
        same = False
    if not same:
        raise ScanError(f"{path}: was changed while it was read; run again when it is complete")


def _state(path: Path) -> tuple[tuple[int, int, int], ...]:
    found = [part.stat() for part in _parts(path)]
    return tuple((one.st_ino, one.st_size, one.st_mtime_ns) for one in found)


def _parts(path: Path) -> Iterator[Path]:
    yield path
    other = {".hdr": ".img", ".img": ".hdr"}.get(path.suffix.lower())
    if other and path.with_suffix(other).exists():
        yield path.with_suffix(other)
