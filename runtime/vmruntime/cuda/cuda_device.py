"""One NVIDIA GPU through its driver (cuda-bindings).

`tests/runtime/cuda` holds it against the kernels on the CPU wherever there is a GPU
(``pytest -m gpu``); elsewhere it runs on a driver made up for the tests.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vmruntime.cuda.cuda_errors import CudaCalls
from vmruntime.cuda.device import Argument, DeviceArray, Dim, Memory
from vmruntime.cuda.probe import probe
from vmruntime.errors import BackendError, BackendUnavailableError
from vmruntime.memory_pool import MemoryPool

__all__ = ["Compile", "CudaDevice"]

Compile = Callable[[tuple[int, int], tuple[int, int]], bytes]
"""Compute capability and the driver's CUDA version to the kernels' binary."""

CHUNK = 4 << 20
"""Bytes of a half of the staging area: one half is filled while the other goes up."""

RECORDINGS = 8
"""Graphs that are kept: results that someone still holds lie at other addresses than the next."""

INSTALL = "pip install 'voxelmorph-deploy[cuda]'"


class CudaDevice:
    """The `Device` that CUDA's driver gives.

    The device's primary context is used, so that engines in the same process share its memory; a
    stream of its own orders what happens. Calls may come from any thread.

    Parameters
    ----------
    ordinal
        Which GPU, as CUDA counts.
    compile_kernels
        Gives the kernels' binary; asked at the first launch. None for `program.load_program`.

    Raises
    ------
    BackendUnavailableError
        No driver, no such GPU, or cuda-bindings is not installed; the message says which.
    """

    def __init__(self, ordinal: int = 0, compile_kernels: Compile | None = None) -> None:
        found = probe()
        if found.driver is None or not found.devices:
            raise BackendUnavailableError(found.reason)
        if ordinal >= len(found.devices):
            raise BackendUnavailableError(
                f"there is no GPU {ordinal}; this machine has {len(found.devices)}, from 0"
            )
        try:
            from cuda.bindings import driver
        except ImportError as error:
            raise BackendUnavailableError(f"cuda-bindings is not installed; {INSTALL}") from error
        if compile_kernels is None:
            from vmruntime.cuda.program import load_program

            compile_kernels = load_program
        facts = found.devices[ordinal]
        self.name = facts.name
        self.compute_capability = facts.compute_capability
        self.memory_bytes = facts.memory_bytes
        self.driver = found.driver
        self._compile = compile_kernels
        self._cuda: Any = driver
        self._calls = CudaCalls(driver, self.name)
        self._lock = threading.RLock()
        self._closed = False
        self._functions: dict[str, Any] = {}
        self._recorded: dict[Hashable, Any] = {}
        """Graphs by their work; None for what was done once, and not recorded yet."""
        self._module: Any = None
        self._handle = self._calls(driver.cuDeviceGet, ordinal)
        self._context = self._calls(driver.cuDevicePrimaryCtxRetain, self._handle)
        self._stream: Any = None
        self._events: list[Any] = []
        try:
            with self._current():
                self._stream = self._calls(
                    driver.cuStreamCreate, driver.CUstream_flags.CU_STREAM_NON_BLOCKING.value
                )
                self._pinned = MemoryPool(self._register, self._unregister)
                self._staging = [self._pinned.lend(CHUNK) for _ in range(2)]
                flags = driver.CUevent_flags.CU_EVENT_DISABLE_TIMING.value
                for _ in range(2):
                    self._events.append(self._calls(driver.cuEventCreate, flags))
        except BaseException:
            self.close()
            raise
        self.stream = int(self._stream)

    @property
    def closed(self) -> bool:
        """Whether it was closed or lost."""
        return self._closed or self._calls.lost

    def allocate(self, nbytes: int) -> Memory:
        """Reserve memory; see `Device.allocate`."""
        with self._current():
            return Memory(int(self._calls(self._cuda.cuMemAlloc, max(nbytes, 1))), nbytes)

    def free(self, memory: Memory) -> None:
        """Give memory back; see `Device.free`."""
        if not self.closed:
            with self._current():
                # A recording may be of work in this memory.
                for key in list(self._recorded):
                    self._forget(key)
                self._calls(self._cuda.cuMemFree, memory.address)

    def upload(self, array: NDArray[Any], memory: Memory) -> None:
        """Copy from the host through the staging area; see `Device.upload`."""
        source = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        _fits(source.nbytes, memory)
        with self._current():
            for number, start in enumerate(range(0, source.nbytes, CHUNK)):
                half, event = self._staging[number % 2], self._events[number % 2]
                # An event that was never recorded counts as done.
                self._calls(self._cuda.cuEventSynchronize, event)
                part = source[start : start + CHUNK]
                half[: part.nbytes] = part
                self._calls(
                    self._cuda.cuMemcpyHtoDAsync,
                    memory.address + start, half.ctypes.data, part.nbytes, self._stream,
                )  # fmt: skip
                self._calls(self._cuda.cuEventRecord, event, self._stream)

    def download(self, memory: Memory, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """Copy to the host, straight into page-locked memory; see `Device.download`."""
        kind = np.dtype(dtype)
        nbytes = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        _fits(nbytes, memory)
        with self._current():
            array = self._pinned.lend(nbytes)
            self._calls(
                self._cuda.cuMemcpyDtoHAsync,
                array.ctypes.data, memory.address, nbytes, self._stream,
            )  # fmt: skip
            self._calls(self._cuda.cuStreamSynchronize, self._stream)
        return array[:nbytes].view(kind).reshape(tuple(shape))

    def clear(self, memory: Memory) -> None:
        """Set all bytes to 0; see `Device.clear`."""
        with self._current():
            self._calls(self._cuda.cuMemsetD8Async, memory.address, 0, memory.nbytes, self._stream)

    def launch(self, kernel: str, grid: Dim, block: Dim, arguments: Sequence[Argument]) -> None:
        """Put a kernel on the stream; see `Device.launch`."""
        values = [_value(argument) for argument in arguments]
        pointers = np.array([value.ctypes.data for value in values], np.uintp)
        with self._current():
            # The driver copies the values before it returns.
            self._calls(
                self._cuda.cuLaunchKernel,
                self._function(kernel), *grid, *block, 0, self._stream, pointers.ctypes.data, 0,
            )  # fmt: skip

    def repeat(self, key: Hashable, work: Callable[[], None]) -> None:
        """Put work on the stream, from the second time on as one graph; see `Device.repeat`."""
        with self._current():
            # The one used last comes last.
            known = key in self._recorded
            graph = self._recorded.pop(key, None)
            if not known:
                work()
            else:
                graph = graph or self._record(work)
                self._calls(self._cuda.cuGraphLaunch, graph, self._stream)
            while len(self._recorded) >= RECORDINGS:
                self._forget(next(iter(self._recorded)))
            self._recorded[key] = graph

    def synchronize(self) -> None:
        """Wait for the stream; see `Device.synchronize`."""
        with self._current():
            self._calls(self._cuda.cuStreamSynchronize, self._stream)

    def current(self) -> AbstractContextManager[None]:
        """Hold the device with its context current in this thread, for engines' own calls."""
        return self._current()

    def close(self) -> None:
        """Release everything; see `Device.close`.

        The memory that `allocate` gave goes back with `free`, before.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            # What fails here was lost together with the device, and there is nothing left to do.
            self._calls.quietly(self._cuda.cuCtxPushCurrent, self._context)
            for key in list(self._recorded):
                self._forget(key)
            for event in self._events:
                self._calls.quietly(self._cuda.cuEventDestroy, event)
            if self._stream is not None:
                self._calls.quietly(self._cuda.cuStreamSynchronize, self._stream)
                self._calls.quietly(self._cuda.cuStreamDestroy, self._stream)
            if self._module is not None:
                self._calls.quietly(self._cuda.cuModuleUnload, self._module)
            if pool := getattr(self, "_pinned", None):
                pool.close()
            self._calls.quietly(self._cuda.cuCtxPopCurrent)
            self._calls.quietly(self._cuda.cuDevicePrimaryCtxRelease, self._handle)

    @contextmanager
    def _current(self) -> Iterator[None]:
        """Hold the device: one thread at a time, with its context current there."""
        with self._lock:
            if self._closed:
                raise BackendError(f"{self.name} was closed; load the model again")
            self._calls(self._cuda.cuCtxPushCurrent, self._context)
            try:
                yield
            finally:
                self._calls.quietly(self._cuda.cuCtxPopCurrent)

    def _function(self, kernel: str) -> Any:
        if self._module is None:
            image = self._compile(self.compute_capability, self.driver)
            self._module = self._calls(self._cuda.cuModuleLoadData, image)
        if kernel not in self._functions:
            self._functions[kernel] = self._calls(
                self._cuda.cuModuleGetFunction, self._module, kernel.encode()
            )
        return self._functions[kernel]

    def _record(self, work: Callable[[], None]) -> Any:
        """An executable graph of what work puts on the stream, which then has not run."""
        cuda = self._cuda
        mode = cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
        self._calls(cuda.cuStreamBeginCapture, self._stream, mode)
        try:
            work()
        except BaseException:
            _, unfinished = cuda.cuStreamEndCapture(self._stream)
            self._calls.quietly(cuda.cuGraphDestroy, unfinished)
            raise
        graph = self._calls(cuda.cuStreamEndCapture, self._stream)
        try:
            return self._calls(cuda.cuGraphInstantiate, graph, 0)
        finally:
            self._calls.quietly(cuda.cuGraphDestroy, graph)

    def _forget(self, key: Hashable) -> None:
        graph = self._recorded.pop(key)
        if graph is not None:
            # On the stream it may still be waited for: the driver destroys it after that.
            self._calls.quietly(self._cuda.cuGraphExecDestroy, graph)

    def _register(self, array: NDArray[np.uint8]) -> None:
        self._calls(self._cuda.cuMemHostRegister, array.ctypes.data, array.nbytes, 0)

    def _unregister(self, array: NDArray[np.uint8]) -> None:
        self._calls.quietly(self._cuda.cuMemHostUnregister, array.ctypes.data)


def _value(argument: Argument) -> NDArray[Any]:
    """An array of the host whose bytes are the argument's."""
    if isinstance(argument, DeviceArray):
        argument = argument.memory
    if isinstance(argument, Memory):
        return np.array([argument.address], np.uint64)
    if isinstance(argument, np.generic | np.ndarray):
        return np.ascontiguousarray(argument).reshape(-1)
    raise TypeError(f"{type(argument).__name__} has no fixed width; pass a numpy scalar")


def _fits(nbytes: int, memory: Memory) -> None:
    if nbytes > memory.nbytes:
        raise BackendError(
            f"{nbytes} bytes do not fit {memory.nbytes} bytes of device memory; report this error"
        )
