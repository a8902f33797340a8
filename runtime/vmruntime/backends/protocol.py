"""What every inference engine offers the runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from vmruntime.errors import BackendError

if TYPE_CHECKING:
    from vmruntime.cuda.device import Device

__all__ = ["Backend", "DeviceBackend", "TensorSpec", "not_finite"]


@dataclass(frozen=True)
class TensorSpec:
    """Name, element type and shape of a model's input or output; None is a free axis."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


class Backend(Protocol):
    """A model loaded into an inference engine.

    `run` may be called from several threads at once; `close` may be called any number of times,
    but not while a `run` is under way.
    """

    name: str
    """Engine, as `open_backend` knows it."""
    version: str
    """Engine's version."""
    device: str
    """What it runs on, such as ``"cpu"`` or ``"cuda:0 NVIDIA H200"``."""
    precision: str
    """What the U-Net is computed in: ``"fp32"``, ``"bf16"`` or ``"fp16"``."""
    checks_fields: bool
    """Whether `run` itself refuses to give a field that is not finite, by `not_finite`."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(
        self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        """Compute the named outputs, and only those where the engine can.

        Parameters
        ----------
        feeds
            One array for each input.
        outputs
            Names of the outputs that are wanted.

        Raises
        ------
        BackendError
            The engine failed, or is closed.
        """

    def close(self) -> None:
        """Release the engine's memory."""


def not_finite(name: str, shape: tuple[int, ...]) -> BackendError:
    """What to raise for a field of the model that cannot be used."""
    return BackendError(
        f"the model's {name} has shape {shape} or holds NaN; "
        "verify the artifact with vm-export, check the scans' intensities"
    )


@runtime_checkable
class DeviceBackend(Backend, Protocol):
    """A backend on an NVIDIA GPU, which can leave its inputs and outputs there.

    Calls take turns: one run at a time uses the engine's memory.
    """

    gpu: Device
    """The GPU, with the memory and the stream that `run` uses; closed with the backend."""

    def run_on_device(
        self,
        feeds: Mapping[str, int],
        outputs: Mapping[str, int],
        shape: tuple[int, int, int],
        stream: int,
    ) -> None:
        """Put one run on a stream, and come back without waiting for it.

        Parameters
        ----------
        feeds, outputs
            For each input, and for each output that is wanted, the address of a C-contiguous
            float32 array in this GPU's memory, ``(1, C, D, H, W)``. They must stay until the
            stream has passed.
        shape
            ``(D, H, W)``.
        stream
            The stream's handle (``cudaStream_t``).

        Raises
        ------
        BackendError
            The engine failed or is closed, or does not take such a grid. `DeviceLostError`: and it
            is closed now. `DeviceMemoryError`: it can go on.
        """
