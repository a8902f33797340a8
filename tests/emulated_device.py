"""A `Device` that runs the CUDA kernels' own source on the CPU, in host memory.

g++ compiles ``runtime/csrc/cuda/vm_kernels.cu`` against ``tests/cuda_on_cpu``; kernels are launched
with the same grids, blocks and arguments as on a GPU. What it refuses, a GPU would answer with
garbage: arguments whose number or sizes are not the kernel's, memory that is not the device's, more
than a launch may have. It says nothing about speed, and nothing about races.
"""

from __future__ import annotations

import ctypes
import functools
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vmruntime.cuda.device import Argument, DeviceArray, Dim, Memory
from vmruntime.errors import BackendError, DeviceMemoryError

__all__ = ["EmulatedDevice", "emulated_kernels", "why_not_emulated"]

ROOT = Path(__file__).resolve().parents[1]
KERNELS = ROOT / "runtime" / "csrc" / "cuda"
SHIM = Path(__file__).resolve().parent / "cuda_on_cpu"

FLAGS = ["-std=c++17", "-O2", "-ffp-contract=off", "-fPIC", "-Wall", "-Wextra", "-Werror"]
# The kernels' pragmas are nvcc's, and -x tells g++ what a .cu file is.
LANGUAGE = ["-Wno-unknown-pragmas", "-x", "c++", f"-I{SHIM}", f"-I{KERNELS}"]

GUARD = 64
"""Bytes behind each piece of memory that no kernel may write."""
PATTERN = 0xA5

LIMITS = {"grid": (2**31 - 1, 65535, 65535), "block": (1024, 1024, 64)}
MAX_PARAMETER_BYTES = 4096


def why_not_emulated() -> str | None:
    """Why this machine cannot compile the kernels for the CPU, or None where it can."""
    return None if shutil.which("g++") else "g++ is not installed"


@functools.cache
def emulated_kernels() -> ctypes.CDLL:
    """The kernels compiled for the CPU, once a process."""
    folder = Path(tempfile.mkdtemp(prefix="cuda_on_cpu"))
    try:
        source = _run("g++", "-E", "-P", *LANGUAGE, f"-include{SHIM / 'cuda_on_cpu.h'}",
                      KERNELS / "vm_kernels.cu")  # fmt: skip
        (folder / "kernels.inc").write_text("".join(_registered(source)))
        library = folder / "kernels.so"
        _run("g++", *FLAGS, "-shared", *LANGUAGE, f"-I{folder}", SHIM / "launch.cpp", "-o", library)
        # The library stays mapped when its file is gone.
        return ctypes.CDLL(str(library))
    finally:
        shutil.rmtree(folder)


def _registered(preprocessed: str) -> list[str]:
    """A line of ``kernels.inc`` for each kernel."""
    parts = re.split(r'extern "C"\s+void\s+(?=vm_)', preprocessed)[1:]
    return [
        # Those of the U-Net have their barriers in functions that they call.
        f"KERNEL({part[: part.index('(')].strip()}, "
        f"{str('__syncthreads' in part or part.startswith('vm_unet_')).lower()})\n"
        for part in parts
    ]


def _run(*command: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout


class EmulatedDevice:
    """The `Device` of the tests; see the module.

    Parameters
    ----------
    memory_bytes
        What `allocate` gives at most, all pieces together.
    """

    name = "emulated GPU"
    compute_capability = (9, 0)
    stream = 0

    def __init__(self, memory_bytes: int = 4 << 30) -> None:
        self.memory_bytes = memory_bytes
        self.launched: list[str] = []
        """Names of the kernels launched so far."""
        self.uploaded = 0
        """Bytes copied to the device so far."""
        self.downloaded = 0
        """Bytes copied from it."""
        self._pieces: dict[int, NDArray[np.uint8]] = {}
        self._sizes: dict[int, int] = {}
        self._closed = False
        self._library = emulated_kernels()
        self._library.emulated_name.restype = ctypes.c_char_p
        count = self._library.emulated_kernels()
        self._numbers = {self._library.emulated_name(i).decode(): i for i in range(count)}

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    @property
    def kernels(self) -> dict[str, list[int]]:
        """Bytes of every kernel's parameters."""
        return {name: self._parameters(number) for name, number in self._numbers.items()}

    @property
    def allocated(self) -> int:
        """Bytes that are allocated now."""
        return sum(self._sizes.values())

    def size_at(self, address: int) -> int:
        """Bytes of the piece that begins at an address."""
        return self._sizes[address]

    def allocate(self, nbytes: int) -> Memory:
        """Reserve memory that is filled with NaN: nothing may count on zeros."""
        self._require_open()
        if self.allocated + nbytes > self.memory_bytes:
            raise DeviceMemoryError(
                f"{self.name}: {nbytes} bytes wanted, {self.memory_bytes - self.allocated} are free"
            )
        # float4 wants 16 bytes, a GPU gives 256.
        piece = np.full(nbytes + GUARD + 256, 0xFF, np.uint8)
        skip = -piece.ctypes.data % 256
        piece[skip + nbytes :] = PATTERN
        address = piece.ctypes.data + skip
        self._pieces[address] = piece[skip:]
        self._sizes[address] = nbytes
        return Memory(address, nbytes)

    def free(self, memory: Memory) -> None:
        """Give memory back."""
        if self._closed:
            return
        self._require_own(memory)
        del self._pieces[memory.address], self._sizes[memory.address]

    def upload(self, array: NDArray[Any], memory: Memory) -> None:
        """Copy to the device."""
        source = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self._view(memory, source.nbytes)[:] = source
        self.uploaded += source.nbytes

    def download(self, memory: Memory, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """Copy from the device."""
        nbytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        self.downloaded += nbytes
        return self._view(memory, nbytes).copy().view(dtype).reshape(tuple(shape))

    def clear(self, memory: Memory) -> None:
        """Set to 0."""
        self._view(memory, memory.nbytes)[:] = 0

    def launch(self, kernel: str, grid: Dim, block: Dim, arguments: Sequence[Argument]) -> None:
        """Run a kernel to its end."""
        self._require_open()
        if kernel not in self._numbers:
            raise BackendError(f"there is no kernel {kernel}")
        for name, extent in (("grid", grid), ("block", block)):
            if not all(1 <= n <= most for n, most in zip(extent, LIMITS[name], strict=True)):
                raise BackendError(f"{kernel}: a {name} of {extent} cannot be launched")
        if np.prod(block) > 256:
            raise BackendError(f"{kernel}: the kernels are compiled for blocks of 256 threads")
        values = [self._value(argument) for argument in arguments]
        sizes = self._parameters(self._numbers[kernel])
        if [value.nbytes for value in values] != sizes:
            given = [value.nbytes for value in values]
            raise BackendError(f"{kernel} takes arguments of {sizes} bytes, given are {given}")
        if sum(sizes) > MAX_PARAMETER_BYTES:
            raise BackendError(f"{kernel}: {sum(sizes)} bytes of arguments")
        pointers = (ctypes.c_void_p * len(values))(*[value.ctypes.data for value in values])
        self._library.emulated_launch(
            self._numbers[kernel], (ctypes.c_uint * 3)(*grid), (ctypes.c_uint * 3)(*block), pointers
        )
        self.launched.append(kernel)
        for address, piece in self._pieces.items():
            if (piece[self._sizes[address] :] != PATTERN).any():
                raise BackendError(f"{kernel} wrote behind a piece of {self._sizes[address]} bytes")

    def repeat(self, key: Hashable, work: Callable[[], None]) -> None:
        """Do the work."""
        work()

    def synchronize(self) -> None:
        """Nothing is ever under way."""
        self._require_open()

    def close(self) -> None:
        """Drop all memory."""
        self._closed = True
        self._pieces.clear()
        self._sizes.clear()

    def _parameters(self, number: int) -> list[int]:
        sizes = (ctypes.c_int * 64)()
        count = self._library.emulated_parameters(number, sizes)
        return list(sizes[:count])

    def _value(self, argument: Argument) -> NDArray[Any]:
        if isinstance(argument, DeviceArray):
            argument = argument.memory
        if isinstance(argument, Memory):
            self._require_own(argument)
            return np.array([argument.address], np.uint64)
        if not isinstance(argument, np.generic | np.ndarray):
            raise BackendError(f"{argument!r} has no definite width; give it as a numpy scalar")
        return np.ascontiguousarray(argument)

    def _view(self, memory: Memory, nbytes: int) -> NDArray[np.uint8]:
        self._require_own(memory)
        if nbytes > memory.nbytes:
            raise BackendError(f"{nbytes} bytes do not fit {memory.nbytes}")
        return self._pieces[memory.address][:nbytes]

    def _require_own(self, memory: Memory) -> None:
        self._require_open()
        # Less of it may be passed on: an engine knows what it was asked for, not what there is.
        if self._sizes.get(memory.address, -1) < memory.nbytes:
            raise BackendError(f"{memory} is not memory of {self.name}, or no longer")

    def _require_open(self) -> None:
        if self._closed:
            raise BackendError(f"{self.name} was closed; load the model again")
