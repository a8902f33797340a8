"""One batch at a time in a folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vmruntime.batch.errors import BatchError

__all__ = ["only_one"]


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold a folder's lock; the system releases it with the process, however that ends.

    Raises
    ------
    BatchError
        Another process holds it.
    OSError
        The lock's file cannot be made.
    """
    with open(folder / "lock", "a", encoding="utf-8") as file:
        # On a file system without locks it is for the user to start only one.
        with suppress(OSError):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BatchError(
                    f"{folder.parent}: another vm-batch is at work there; wait for it, or choose "
                    "another folder"
                ) from None
        yield
