"""Inference engines, one file each, behind one protocol.

To add one: write ``backends/NAME.py`` with a class that has the members of `Backend` and a
constructor ``(artifact, device, threads)`` that raises `BackendUnavailableError` where the engine
cannot run, and add it to `BACKENDS`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

from vmruntime.backends.protocol import Backend, TensorSpec

if TYPE_CHECKING:
    from vmruntime.artifact import Artifact

__all__ = ["BACKENDS", "Backend", "TensorSpec", "open_backend"]

BACKENDS = {"onnxruntime": "OnnxRuntimeBackend"}
"""Module below this package: its class. The order is the order in which ``auto`` tries them."""


def open_backend(
    artifact: Artifact, name: str = "auto", device: str = "auto", threads: int | None = None
) -> Backend:
    """Load an artifact into an inference engine.

    Parameters
    ----------
    artifact
        The model.
    name
        One of `BACKENDS`, or ``"auto"`` for the best that is there.
    device
        ``"cpu"``, or ``"auto"``.
    threads
        Number of threads the engine may use; None for all cores this process may run on.

    Raises
    ------
    BackendUnavailableError
        The engine is unknown, not installed or cannot use the device.
    BackendError
        The engine does not take the model.
    """
    from vmruntime.errors import BackendUnavailableError

    if name != "auto" and name not in BACKENDS:
        raise BackendUnavailableError(
            f"there is no backend {name!r}; choose one of auto, {', '.join(BACKENDS)}"
        )
    reasons = []
    for module in BACKENDS if name == "auto" else [name]:
        try:
            backend = getattr(importlib.import_module(f"{__name__}.{module}"), BACKENDS[module])
            return cast(Backend, backend(artifact, device, threads))
        except BackendUnavailableError as error:
            reasons.append(str(error))
    raise BackendUnavailableError("; ".join(reasons))
