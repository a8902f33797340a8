"""What backends on an NVIDIA GPU share: finding it, and memory that lasts from run to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.cuda.probe import DeviceFacts, probe
from vmruntime.errors import BackendUnavailableError, DeviceLostError

if TYPE_CHECKING:
    from vmruntime.cuda.device import Device, Memory

__all__ = ["DeviceBuffers", "find_gpu"]


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
