"""An engine that takes addresses of device memory: any other backend, with copies around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulated_device import EmulatedDevice
from vmruntime.backends import Backend
from vmruntime.cuda.device import Device, Memory
from vmruntime.errors import BackendError

__all__ = ["BackendOnDevice"]

CHANNELS = {"moving": 1, "fixed": 1, "moved": 1}
"""Of tensors; the others are fields."""


class BackendOnDevice:
    """A `DeviceBackend` that computes on the host.

    Parameters
    ----------
    backend
        What computes.
    gpu
        Where the addresses are.
    """

    def __init__(self, backend: Backend, gpu: Device) -> None:
        self.backend = backend
        self.gpu = gpu
        self.name = backend.name
        self.version = backend.version
        self.precision = backend.precision
        self.checks_fields = backend.checks_fields
        self.inputs = backend.inputs
        self.outputs = backend.outputs
        self.device = "cuda:0 emulated"
        self.ran_on_device = 0

    def run(
        self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        """Compute the named outputs; see `Backend.run`."""
        return self.backend.run(feeds, outputs)

    def run_on_device(
        self,
        feeds: Mapping[str, int],
        outputs: Mapping[str, int],
        shape: tuple[int, int, int],
        stream: int,
    ) -> None:
        """Compute where the addresses say; see `DeviceBackend.run_on_device`."""
        if self.gpu.closed:
            raise BackendError("the model is closed; load it again")
        assert stream == self.gpu.stream
        # The copies stand for nothing: an engine reads and writes where the arrays are.
        before = vars(self.gpu).copy()
        arrays = {}
        for name, address in feeds.items():
            whole = (1, CHANNELS.get(name, 3), *shape)
            arrays[name] = self.gpu.download(self._memory(address, whole), whole, np.float32)
        for name, field in self.backend.run(arrays, list(outputs)).items():
            self.gpu.upload(field, self._memory(outputs[name], field.shape))
        if isinstance(self.gpu, EmulatedDevice):
            self.gpu.uploaded, self.gpu.downloaded = before["uploaded"], before["downloaded"]
        self.ran_on_device += 1

    def close(self) -> None:
        """Close both; see `Backend.close`."""
        self.backend.close()
        self.gpu.close()

    def _memory(self, address: int, shape: tuple[int, ...]) -> Memory:
        nbytes = 4 * int(np.prod(shape))
        if isinstance(self.gpu, EmulatedDevice):  # it knows its pieces by their whole size
            nbytes = self.gpu.size_at(address)
        return Memory(address, nbytes)
