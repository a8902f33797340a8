"""One registration of a batch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vmruntime.batch.errors import BatchError

__all__ = ["Pair", "id_of", "require_unique", "stem"]

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,149}")
"""What a folder and the start of file names may be called."""

SUFFIXES = (".nii.gz", ".mgh.gz", ".nii", ".mgz", ".mgh", ".hdr", ".img")


@dataclass(frozen=True)
class Pair:
    """Files of a pair, and what it is called.

    Parameters
    ----------
    id
        Unique in the batch; the output files start with it.
    subject
        Whose scan the fixed one is; the folder of the outputs.
    moving, fixed
        Scans.
    moving_seg, fixed_seg
        Labels of theirs, or None.
    """

    id: str
    subject: str
    moving: Path
    fixed: Path
    moving_seg: Path | None = None
    fixed_seg: Path | None = None

    def __post_init__(self) -> None:
        for name in (self.id, self.subject):
            if not ID.fullmatch(name):
                raise BatchError(
                    f"{name!r} cannot be an id; use letters, digits, '.', '_' and '-', "
                    "a letter or digit first, at most 150 characters"
                )

    def inputs(self) -> dict[str, Path]:
        """Role: file, of all files there are."""
        files = {
            "moving": self.moving,
            "fixed": self.fixed,
            "moving_seg": self.moving_seg,
            "fixed_seg": self.fixed_seg,
        }
        return {role: path for role, path in files.items() if path is not None}


def stem(path: Path) -> str:
    """A file's name without the endings of images."""
    name = path.name
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def id_of(text: str) -> str:
    """Any text as an id: what an id cannot hold becomes ``-``."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:150] or "scan"


def require_unique(ids: Iterable[str], where: str, remedy: str) -> None:
    """Raise `BatchError` where two of `ids` are the same but for upper and lower case."""
    seen: set[str] = set()
    for name in ids:
        # Some file systems take both for one name.
        if name.lower() in seen:
            raise BatchError(f"{where}: two are called {name!r}; {remedy}")
        seen.add(name.lower())
