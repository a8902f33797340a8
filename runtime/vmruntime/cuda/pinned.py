"""Page-locked memory of the host, lent as arrays and used again."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PinnedPool"]

PAGE = 4096

Bytes = NDArray[np.uint8]


class _Loan:
    """What an array on lent memory rests on: when the last view of it is gone, so is this."""

    def __init__(self, memory: Bytes) -> None:
        self.memory = memory
        self.__array_interface__: dict[str, Any] = memory.__array_interface__


class PinnedPool:
    """Arrays that a GPU reads and writes without a copy in between.

    The memory is numpy's own and only registered with the driver: an array that outlives the pool
    stays what it is, it is merely no longer page-locked.

    Parameters
    ----------
    register, unregister
        Page-lock an array of bytes for the device, and undo that.
    """

    def __init__(
        self, register: Callable[[Bytes], None], unregister: Callable[[Bytes], None]
    ) -> None:
        self._register = register
        self._unregister = unregister
        self._lock = threading.Lock()
        self._free: dict[int, list[Bytes]] = {}
        self._all: dict[int, Bytes] = {}
        self._closed = False

    @property
    def nbytes(self) -> int:
        """All that is page-locked, lent or not."""
        return sum(memory.nbytes for memory in self._all.values())

    def lend(self, nbytes: int) -> Bytes:
        """Give an array of at least so many bytes, uint8; it comes back when it is dropped."""
        size = -(-max(nbytes, 1) // PAGE) * PAGE
        with self._lock:
            spare = self._free.get(size)
            memory = spare.pop() if spare else None
        if memory is None:
            memory = _aligned(size)
            self._register(memory)
            with self._lock:
                self._all[memory.ctypes.data] = memory
        loan = _Loan(memory)
        # Not a method of the loan, which is gone by then.
        weakref.finalize(loan, self._take_back, memory).atexit = False
        return np.asarray(loan)

    def close(self) -> None:
        """Undo all page-locking; what is lent stays with those who hold it."""
        with self._lock:
            self._closed = True
            everything = list(self._all.values())
            self._all.clear()
            self._free.clear()
        for memory in everything:
            self._unregister(memory)

    def _take_back(self, memory: Bytes) -> None:
        # No lock: this may run inside `lend`, whenever Python collects. One append is atomic.
        if not self._closed:
            self._free.setdefault(memory.nbytes, []).append(memory)


def _aligned(size: int) -> Bytes:
    whole = np.empty(size + PAGE, np.uint8)
    start = -whole.ctypes.data % PAGE
    return whole[start : start + size]
