"""What is known about a pair on the disk: that it was begun, or that it is finished and of what.

A pair is begun before its first output gets its name, and finished after the last one has it. So an
output that no record names was made by somebody else and is not touched, and an output of a pair
that is not finished does not count.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vmruntime.errors import OutputError
from vmruntime.io.outputs import Outputs

__all__ = ["NAMING", "Record", "read_record", "require_own", "write_record"]

VERSION = 1

NAMING = threading.Lock()
"""Held while `Outputs` gives names: it asks for the process's umask, which only one thread at a
time may do."""


@dataclass(frozen=True)
class Record:
    """A pair's state.

    Parameters
    ----------
    status
        ``"begun"`` or ``"done"``.
    outputs
        Output: its size in bytes; of a pair that is only begun, 0.
    key
        What the result depends on, JSON values.
    facts
        What `build_report` gave, JSON values; of a fused subject what the fusion measured.
    worker
        Who did it.
    seconds
        How long it took, without waiting.
    """

    status: Literal["begun", "done"]
    outputs: Mapping[str, int]
    key: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    worker: str = ""
    seconds: float = 0.0

    def is_done(self, key: Mapping[str, Any], folder: Path) -> bool:
        """Whether this is the finished result of `key`, and all its outputs are there."""
        return self.status == "done" and self.key == key and self._is_whole(folder)

    def _is_whole(self, folder: Path) -> bool:
        try:
            return all((folder / name).stat().st_size == n for name, n in self.outputs.items())
        except OSError:
            return False


def read_record(path: Path) -> Record | None:
    """A record, or None where there is none or one that this version does not know."""
    try:
        values = json.loads(path.read_bytes())
        if values.pop("version") != VERSION or values["status"] not in ("begun", "done"):
            return None
        return Record(**values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def write_record(path: Path, record: Record) -> None:
    """Write a record, whole or not at all.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    values = {"version": VERSION, **vars(record)}
    with Outputs(force=True) as outputs:
        with NAMING:
            temporary = outputs.file(path)
        temporary.write_text(json.dumps(values, allow_nan=False) + "\n")


def require_own(planned: Iterable[Path], record: Record | None, folder: Path) -> None:
    """Raise `OutputError` where an output exists that no earlier run of this pair made."""
    own = {folder / name for name in record.outputs} if record else set()
    for path in planned:
        if path.exists() and path not in own:
            raise OutputError(
                f"{path}: exists already and is not from vm-batch; choose another folder or "
                "pass --force"
            )
