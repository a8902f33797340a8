"""What backends on an NVIDIA GPU share: finding it, memory that lasts from run to run, turns."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.backends.protocol import TensorSpec
from vmruntime.cuda.probe import DeviceFacts, probe
from vmruntime.errors import BackendError, BackendUnavailableError, DeviceLostError

if TYPE_CHECKING:
    from vmruntime.cuda.device import Device, Memory

__all__ = ["DeviceBuffers", "GpuBackend", "find_gpu"]


def find_gpu(device: str) -> DeviceFacts:
    """The GPU that ``"auto"``, ``"cuda"`` or ``"cuda:N"`` means.

    The driver alone is asked, before any engine's library is loaded: some of those crash or print
    where there is no driver.

    Raises
    ------
    BackendUnavailableError
        There is none, or it is not an NVIDIA GPU that was asked for.
    """
    found = probe()
    if not found.devices:
        raise BackendUnavailableError(found.reason)
    number = int(device.partition(":")[2] or 0)
    if number >= len(found.devices):
        here = ", ".join(f"cuda:{facts.ordinal} ({facts.name})" for facts in found.devices)
        raise BackendUnavailableError(f"there is no GPU {device}; this machine has {here}")
    return found.devices[number]


class DeviceBuffers:
    """Memory of a GPU for an engine's inputs and outputs, by name, kept and used again.

    Not for several threads at once; the backend holds a lock.

    Parameters
    ----------
    gpu
        Where it lies.
    """

    def __init__(self, gpu: Device) -> None:
        self._gpu = gpu
        self._memory: dict[str, Memory] = {}

    def get(self, name: str, shape: Sequence[int]) -> Memory:
        """Memory for a float32 tensor, as large as that or larger; what it held is lost."""
        nbytes = int(np.prod(shape, dtype=np.int64)) * 4
        held = self._memory.get(name)
        if held is None or held.nbytes < nbytes:
            if held is not None:
                del self._memory[name]
                self._gpu.free(held)
            self._memory[name] = self._gpu.allocate(nbytes)
        return self._memory[name]

    def run(
        self,
        feeds: Mapping[str, NDArray[Any]],
        outputs: Mapping[str, Sequence[int]],
        enqueue: Callable[[dict[str, int], dict[str, int]], None],
    ) -> dict[str, NDArray[Any]]:
        """Bring the inputs up, run, and bring down the outputs: those only.

        Parameters
        ----------
        feeds
            An array for each input.
        outputs
            Shape of each output that is wanted.
        enqueue
            Puts the run on the GPU's stream, given the addresses of inputs and outputs.
        """
        up: dict[str, int] = {}
        for name, array in feeds.items():
            memory = self.get(name, array.shape)
            self._gpu.upload(np.ascontiguousarray(array, np.float32), memory)
            up[name] = memory.address
        down = {name: self.get(name, shape) for name, shape in outputs.items()}
        enqueue(up, {name: memory.address for name, memory in down.items()})
        return {
            name: self._gpu.download(memory, outputs[name], np.float32)
            for name, memory in down.items()
        }

    def close(self) -> None:
        """Give the memory back; any number of times."""
        while self._memory:
            _, memory = self._memory.popitem()
            try:
                self._gpu.free(memory)
            except DeviceLostError:
                # It is gone together with the GPU.
                self._memory.clear()


class GpuBackend(ABC):
    """A `DeviceBackend` whose runs take turns, and which closes itself where the GPU is lost.

    An engine has `_enqueue`, which puts a run on a stream, and `_drop`, which lets go of what it
    holds.

    Parameters
    ----------
    path
        The artifact's file, for messages.
    gpu
        Closed with the backend.
    """

    checks_fields = False
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __init__(self, path: Path, gpu: Device) -> None:
        self._path = path
        self.gpu = gpu
        self._lock = threading.Lock()
        self._closed = False
        self._buffers = DeviceBuffers(gpu)

    def run(
        self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        """Compute the named outputs; see `Backend.run`. What was not asked for stays there."""
        d, h, w = (int(size) for size in feeds["fixed"].shape[2:])
        shape = (d, h, w)
        with self._lock:
            self._require_open()
            shapes = {name: self._shape_of(name, shape) for name in outputs}
            try:
                return self._buffers.run(
                    feeds,
                    shapes,
                    lambda up, down: self._enqueue(up, down, shape, self.gpu.stream),
                )
            except DeviceLostError:
                self._release()
                raise

    def run_on_device(
        self,
        feeds: Mapping[str, int],
        outputs: Mapping[str, int],
        shape: tuple[int, int, int],
        stream: int,
    ) -> None:
        """Put one run on a stream; see `DeviceBackend.run_on_device`."""
        with self._lock:
            self._require_open()
            try:
                self._enqueue(feeds, outputs, shape, stream)
            except DeviceLostError:
                self._release()
                raise

    def close(self) -> None:
        """Release engine, memory and GPU; see `Backend.close`."""
        with self._lock:
            self._release()

    @abstractmethod
    def _enqueue(
        self,
        feeds: Mapping[str, int],
        outputs: Mapping[str, int],
        shape: tuple[int, int, int],
        stream: int,
    ) -> None:
        """See `DeviceBackend.run_on_device`; the lock is held and the backend open."""

    @abstractmethod
    def _drop(self) -> None:
        """Let go of the engine; any number of times, and of one that is half made."""

    def _shape_of(self, name: str, shape: tuple[int, int, int]) -> tuple[int, ...]:
        """``(1, C, D, H, W)`` of an input or output."""
        for spec in (*self.inputs, *self.outputs):
            if spec.name == name:
                return (1, spec.shape[1] or 1, *shape)
        raise BackendError(f"the model {self._path} has no output {name!r}")

    def _require_open(self) -> None:
        if self._closed:
            raise BackendError(f"the model {self._path} is closed; load it again")

    def _release(self) -> None:
        self._closed = True
        self._drop()
        self._buffers.close()
        self.gpu.close()
