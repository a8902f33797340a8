"""Calls of CUDA's driver, and what its error codes mean for us."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vmruntime.errors import BackendError, DeviceLostError, DeviceMemoryError

__all__ = ["CudaCalls"]

MEMORY = {2, 701}
"""OUT_OF_MEMORY, LAUNCH_OUT_OF_RESOURCES."""

FATAL = {
    4, 46, 100, 201, 214, 220, 226, 400, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721,
    802, 806, 807, 810, 911, 999,
}  # fmt: skip
"""After these the context answers every call with an error: the device fell off its bus, was reset,
or a kernel did what it must not. From the reference of ``CUresult``."""


class CudaCalls:
    """Calls functions of ``cuda.bindings.driver`` and raises what they return as an error.

    Parameters
    ----------
    driver
        The module, or anything with its ``CUresult`` members.
    name
        What messages call the device.
    """

    def __init__(self, driver: Any, name: str) -> None:
        self._driver = driver
        self._name = name
        self._lost = ""

    @property
    def lost(self) -> bool:
        """Whether a call has said that the device failed for good."""
        return bool(self._lost)

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call, and give what comes beside the status: nothing, one value or a tuple.

        Raises
        ------
        DeviceMemoryError, DeviceLostError, BackendError
            See `vmruntime.cuda.device.Device`.
        """
        if self._lost:
            raise DeviceLostError(self._lost)
        status, *values = function(*arguments)
        code = int(status)
        if code == 0:
            return values[0] if len(values) == 1 else tuple(values) or None
        reason = getattr(status, "name", str(code)).removeprefix("CUDA_ERROR_")
        if code in MEMORY:
            raise DeviceMemoryError(
                f"{self._name} is out of memory{_asked(function, arguments)}; close other programs "
                "on it, or use a GPU with more memory or --device cpu"
            )
        if code in FATAL:
            self._lost = (
                f"{self._name} failed ({reason}) and the model on it is closed; start this program "
                "again, and look at nvidia-smi if that does not help"
            )
            raise DeviceLostError(self._lost)
        raise BackendError(
            f"{self._name}: {getattr(function, '__name__', 'CUDA')} failed ({reason}); report this "
            "error with the driver's version"
        )

    def quietly(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call while releasing, where a failure changes nothing: the driver frees the rest."""
        function(*arguments)


def _asked(function: Callable[..., Any], arguments: tuple[Any, ...]) -> str:
    """How much was asked for, where the call was one for memory."""
    if getattr(function, "__name__", "") != "cuMemAlloc":
        return ""
    return f" ({int(arguments[0]) / 2**20:.0f} MiB more were needed)"
