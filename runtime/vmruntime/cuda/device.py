"""What a GPU has to offer the pipeline, and memory on it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["Argument", "Device", "DeviceArray", "Dim", "Memory"]

Dim = tuple[int, int, int]
"""Extent of a grid of blocks or of a block of threads: x, y, z as CUDA counts them."""


@dataclass(frozen=True, eq=False)
class Memory:
    """A piece of a device's memory, as its `Device.allocate` gave it.

    Parameters
    ----------
    address
        Where it begins, as a pointer of the device.
    nbytes
        Its size in bytes.
    """

    address: int
    nbytes: int


@dataclass(frozen=True, eq=False)
class DeviceArray:
    """A C-contiguous array at the beginning of a piece of device memory.

    Parameters
    ----------
    memory
        At least as large as the array.
    shape
        Sizes along its axes.
    dtype
        Type of its elements.
    """

    memory: Memory
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.size * self.dtype.itemsize


Argument = Memory | DeviceArray | np.generic | NDArray[Any]
"""One argument of a kernel.

`Memory` and `DeviceArray` are passed as pointers; a numpy scalar by value, as C's type of the same
width (``np.int32(3)`` as ``int``, ``np.float32(3)`` as ``float``); a numpy array, C-contiguous, by
value too, as a struct that holds these numbers and nothing else (a 3 x 4 float32 matrix as
``struct { float m[12]; }``). Python's own numbers are refused: their width is a guess.
"""


class Device(Protocol):
    """One GPU with one stream, in the order of which everything happens.

    Memory that was allocated stays until it is freed; `vmruntime.cuda.arena` keeps it for reuse.
    Every method but `close` raises

    - `DeviceMemoryError` where memory is short; the device goes on as before;
    - `DeviceLostError` where the device failed, at this call and at each one after it;
    - `BackendError` for whatever else went wrong, and when the device is closed.

    Methods may be called from several threads, one after the other: the caller holds a lock where
    the order matters.
    """

    name: str
    """Such as ``"NVIDIA H200"``."""
    compute_capability: tuple[int, int]
    """Such as ``(9, 0)``."""
    memory_bytes: int
    """All of the device's memory."""
    stream: int
    """The stream's handle (a ``cudaStream_t``), for engines that run on it; 0 where none is."""

    @property
    def closed(self) -> bool:
        """Whether it was closed or lost: nothing more can be done with it."""

    def allocate(self, nbytes: int) -> Memory:
        """Reserve memory; its contents are undefined."""

    def free(self, memory: Memory) -> None:
        """Give memory back; does nothing on a device that is closed or lost."""

    def upload(self, array: NDArray[Any], memory: Memory) -> None:
        """Copy a C-contiguous array of the host to the beginning of `memory`.

        The array may be changed or dropped as soon as the call is back.
        """

    def download(self, memory: Memory, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """Copy the beginning of `memory` into an array of the host that is the caller's own.

        Waits for everything that was put on the stream before.
        """

    def clear(self, memory: Memory) -> None:
        """Set all bytes to 0, in the stream's order."""

    def launch(self, kernel: str, grid: Dim, block: Dim, arguments: Sequence[Argument]) -> None:
        """Put a kernel of ``runtime/csrc/cuda`` on the stream, and come back at once.

        Parameters
        ----------
        kernel
            Its ``extern "C"`` name.
        grid, block
            Blocks of the grid, and threads of a block, along x, y, z.
        arguments
            In the order of the kernel's parameters; see `Argument`.
        """

    def repeat(self, key: Hashable, work: Callable[[], None]) -> None:
        """Put work on the stream that was put there before, at a fraction of the launches' price.

        Parameters
        ----------
        key
            Equal for equal work: the same launches with the same arguments.
        work
            Launches kernels, and nothing else that this device does; what it allocates is there
            after the first time. Called at least twice with each key.
        """

    def synchronize(self) -> None:
        """Wait for everything on the stream; what went wrong there is raised here."""

    def close(self) -> None:
        """Release everything, any number of times; arrays of the host stay usable."""
