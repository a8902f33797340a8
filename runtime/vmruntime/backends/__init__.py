"""Inference engines, one file each, behind one protocol.

To add one: write ``backends/MODULE.py`` with a class that has the members of `Backend` and a
constructor ``(artifact, device, threads, precision)`` that raises `BackendUnavailableError` where
the engine cannot run, add it to `BACKENDS`, and its place to `candidates`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from vmruntime.backends.protocol import Backend, DeviceBackend, TensorSpec

if TYPE_CHECKING:
    from vmruntime.artifact import Artifact

__all__ = ["BACKENDS", "Backend", "DeviceBackend", "TensorSpec", "candidates", "open_backend"]

BACKENDS = {
    "cuda": ("cuda", "CudaBackend"),
    "tensorrt": ("tensorrt", "TensorRTBackend"),
    "tensorrt-rtx": ("tensorrt", "TensorRTRTXBackend"),
    "openvino": ("openvino", "OpenVinoBackend"),
    "onnxruntime": ("onnxruntime", "OnnxRuntimeBackend"),
}
"""Name of an engine: module below this package, class."""

ON_GPU = {"onnxruntime": ("onnxruntime_cuda", "OnnxRuntimeCudaBackend")}
"""The same for the GPU, where that is another class."""

GPU_ENGINES = ("cuda", "onnxruntime")
"""What runs an ONNX model on a GPU, the fastest first; our own runs those in FP16 only."""

CPU_ENGINES = ("openvino", "onnxruntime")
"""What runs an ONNX model on a CPU, the fastest first."""

ENGINE_OF_TARGET = {"tensorrt": "tensorrt", "rtx": "tensorrt-rtx"}
"""What runs a plan, by the target its manifest names."""


def candidates(
    artifact: Artifact, name: str = "auto", device: str = "auto"
) -> list[tuple[str, str]]:
    """Engine and device, in the order in which they are tried; the best comes first."""
    if name != "auto":
        both = name in ON_GPU and device == "auto"
        return [(name, "cuda"), (name, "cpu")] if both else [(name, device)]
    if artifact.kind == "plan":
        return [(ENGINE_OF_TARGET[artifact.manifest.engine["target"]], device)]
    on_cpu = [(engine, "cpu") for engine in CPU_ENGINES]
    if device == "cpu":
        return on_cpu
    where = "cuda" if device == "auto" else device
    on_gpu = [
        (engine, where)
        for engine in GPU_ENGINES
        if engine != "cuda" or artifact.manifest.precision == "fp16"
    ]
    return [*on_gpu, *on_cpu] if device == "auto" else on_gpu


def open_backend(
    artifact: Artifact,
    name: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    precision: str = "auto",
    announce: Callable[[str], None] | None = None,
) -> Backend:
    """Load an artifact into an inference engine.

    Parameters
    ----------
    artifact
        The model.
    name
        One of `BACKENDS`, or ``"auto"`` for the best that this machine and this file allow.
    device
        ``"cpu"``, ``"cuda"``, ``"cuda:N"``, or ``"auto"`` for the engine's best.
    threads
        Number of threads the engine may use; None for all cores this process may run on.
    precision
        What the U-Net is computed in: ``"fp32"``, ``"bf16"``, ``"fp16"``, or ``"auto"`` for the
        engine's choice. What was asked for is had, or refused.
    announce
        Called with why a better engine was passed over.

    Raises
    ------
    BackendUnavailableError
        The engine is unknown, not installed, cannot use the device, or does not run such files.
    BackendError
        The engine does not take the model.
    """
    from vmruntime.errors import BackendUnavailableError

    if name != "auto" and name not in BACKENDS:
        raise BackendUnavailableError(
            f"there is no backend {name!r}; choose one of auto, {', '.join(BACKENDS)}"
        )
    _require_device(device)
    reasons: list[str] = []
    choices = candidates(artifact, name, device)
    for choice, where in choices:
        table = ON_GPU if choice in ON_GPU and where.startswith("cuda") else BACKENDS
        module, kind = table[choice]
        backend = getattr(importlib.import_module(f"{__name__}.{module}"), kind)
        try:
            return cast(Backend, backend(artifact, where, threads, precision))
        except BackendUnavailableError as error:
            known = str(error) in reasons
            reasons.append(str(error))
            if announce and len(choices) > 1 and not known:
                announce(f"passed over {choice} on {where}: {error}")
    raise BackendUnavailableError("; ".join(dict.fromkeys(reasons)))


def _require_device(device: str) -> None:
    from vmruntime.errors import BackendUnavailableError

    kind, _, number = device.partition(":")
    plain = device in ("auto", "cpu", "cuda")
    if not plain and not (kind == "cuda" and number.isascii() and number.isdigit()):
        raise BackendUnavailableError(
            f"there is no device {device!r}; choose one of auto, cpu, cuda, cuda:N"
        )
