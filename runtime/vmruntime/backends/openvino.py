"""OpenVINO: the fastest engine on a CPU.

It computes the U-Net alone. The tail (resize, integrate, warp), which OpenVINO has no operators
for, runs beside it in our own kernels, and so do the first layers where that is faster.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.backends.openvino_import import import_openvino
from vmruntime.backends.openvino_model import build_unet
from vmruntime.backends.protocol import not_finite
from vmruntime.errors import BackendError, BackendUnavailableError, one_line
from vmruntime.kernels import native_kernels
from vmruntime.model_cache import ModelCache
from vmruntime.unet.first_layers import find_first_layers
from vmruntime.unet.graph import read_graph
from vmruntime.unet.run_tail import displacement_of, moved_by
from vmruntime.unet.tail import find_tail
from vmruntime.version import __version__

if TYPE_CHECKING:
    from vmruntime.artifact import Artifact

__all__ = ["OpenVinoBackend"]

TYPES = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""Our names of precisions, and OpenVINO's; for INT8, of what is not quantized."""

LARGEST_VELOCITY = 1e30
"""Voxels; NaN is beyond it too."""

GRIDS_KEPT = 2
"""Grids for which an artifact that takes any stays compiled; half a gigabyte each at 1 mm."""


class OpenVinoBackend:
    """The U-Net of a model in OpenVINO's CPU plugin, and its tail beside it.

    Calls take turns in the U-Net, which uses all the threads, and keeps its memory between calls.

    Parameters
    ----------
    artifact
        A ``model.onnx``.
    device
        ``"cpu"`` or ``"auto"``.
    threads
        Threads of one run; None for all cores this process may run on.
    precision
        ``"fp32"``; ``"bf16"``, which processors without instructions for it emulate, slowly; or
        ``"auto"``: bf16 where the processor has them, else fp32. Weights that the file has in
        float16 are computed with in this precision too. A file that is quantized runs in
        ``"int8"``, which ``"auto"`` means there, its other layers in float32.

    Raises
    ------
    BackendUnavailableError
        openvino is not installed, another device or precision was asked for, or the model is not
        a U-Net followed by VoxelMorph's tail.
    BackendError
        OpenVINO does not take the U-Net.
    """

    name = "openvino"
    checks_fields = True
    device = "cpu"

    def __init__(
        self,
        artifact: Artifact,
        device: str = "auto",
        threads: int | None = None,
        precision: str = "auto",
    ) -> None:
        if device not in ("auto", "cpu"):
            raise BackendUnavailableError(
                f"the openvino backend runs on the CPU, not on {device!r}; use --device cpu"
            )
        if artifact.kind != "onnx":
            raise BackendUnavailableError(
                f"{artifact.path} is an engine plan; the openvino backend runs model.onnx"
            )
        if artifact.manifest.precision == "int8":
            if precision not in ("auto", "int8"):
                raise BackendUnavailableError(
                    f"{artifact.path} is quantized to int8 and runs in nothing else; give the "
                    f"float32 model for --precision {precision}"
                )
            precision = "int8"
        elif precision not in ("fp32", "bf16", "auto"):
            raise BackendUnavailableError(
                f"the openvino backend computes in fp32 or bf16, not {precision}"
            )
        openvino = import_openvino()
        self._path = artifact.path
        self._threads = threads or len(os.sched_getaffinity(0))
        self._graph = read_graph(artifact.model)
        self._tail = find_tail(self._graph)
        self._native = native_kernels()
        self._first = None
        if self._native and self._native.instructions == "avx512":
            self._first = find_first_layers(self._graph, self._tail.prediction)
        self._lock = threading.Lock()
        self._core = openvino.Core()
        capabilities = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "auto":
            precision = "bf16" if "BF16" in capabilities else "fp32"
        self.precision = precision
        self.version: str = openvino.__version__.split("-")[0]
        self._cache = ModelCache()
        self._stride = artifact.manifest.stride
        self._depends_on = (artifact.model, __version__, openvino.__version__, *capabilities)
        self.inputs = self._graph.inputs
        self.outputs = self._graph.outputs
        self._requests: dict[tuple[int, ...], Any] | None = {}
        shape = artifact.manifest.shape
        if shape is not None:
            self._request(shape)
        else:  # whether the U-Net can be built at all, without compiling it
            self._unet((4 * self._stride,) * 3)

    def run(
        self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        """Compute the named outputs; see `Backend.run`."""
        prediction = self._predict(feeds)
        # What follows adds up and blends finite values. That field is an eighth of the result.
        if not (prediction.max() < LARGEST_VELOCITY and prediction.min() > -LARGEST_VELOCITY):
            raise not_finite(outputs[0], prediction.shape)
        found: dict[str, NDArray[Any]] = {}
        forward = None
        if "displacement" in outputs or "moved" in outputs:
            forward = displacement_of(prediction, self._tail, self._threads)
            found["displacement"] = forward[None]
        if "inverse_displacement" in outputs:
            inverse = displacement_of(-prediction, self._tail, self._threads)
            found["inverse_displacement"] = inverse[None]
        if "moved" in outputs and forward is not None:
            found["moved"] = moved_by(feeds["moving"][0], forward, self._threads)[None]
        missing = [name for name in outputs if name not in found]
        if missing:
            raise BackendError(f"the model {self._path} has no output {missing[0]!r}")
        return {name: found[name] for name in outputs}

    def close(self) -> None:
        """Release the compiled U-Net; see `Backend.close`."""
        with self._lock:
            self._requests = None

    def _predict(self, feeds: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """What the U-Net predicts, ``(3, d, h, w)`` float32."""
        given = {
            spec.name: np.ascontiguousarray(feeds[spec.name], np.float32) for spec in self.inputs
        }
        d, h, w = self._common_shape(given)
        if self._native and self._first:
            given = {"features": self._first.run(self._native, given, self._threads)}
        with self._lock:
            request = self._request((d, h, w))
            try:
                request.infer(given, share_inputs=True)
                return np.array(request.get_output_tensor(0).data[0])
            except Exception as error:
                raise self._failed(error) from error

    def _common_shape(self, given: Mapping[str, NDArray[np.float32]]) -> tuple[int, ...]:
        """``(D, H, W)`` of the inputs, if they are as the model takes them."""
        shapes = [array.shape for array in given.values()]
        for spec, shape in zip(self.inputs, shapes, strict=True):
            fits = len(shape) == len(spec.shape) and all(
                expected in (size, None) for size, expected in zip(shape, spec.shape, strict=True)
            )
            if not fits or shape[2:] != shapes[0][2:] or any(n % self._stride for n in shape[2:]):
                raise BackendError(
                    f"the model {self._path} takes scans of one grid {spec.shape} in multiples of "
                    f"{self._stride}, its {spec.name} input is {shape}"
                )
        return shapes[0][2:]

    def _request(self, shape: tuple[int, int, int]) -> Any:
        """The compiled U-Net with its memory, for one grid; made when first needed."""
        if self._requests is None:
            raise BackendError(f"the model {self._path} is closed; load it again")
        # The one used last comes last, and the first one goes when there are too many.
        request = self._requests.pop(shape, None)
        if request is None:
            while len(self._requests) >= GRIDS_KEPT:
                self._requests.pop(next(iter(self._requests)))
            request = self._compiled(shape).create_infer_request()
        self._requests[shape] = request
        return request

    def _compiled(self, shape: tuple[int, int, int]) -> Any:
        properties = {
            "INFERENCE_PRECISION_HINT": TYPES[self.precision],
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": 1,
            # What this process may run on is the caller's choice.
            "ENABLE_CPU_PINNING": False,
        }
        begins = self._first.output if self._first else "inputs"
        key = ModelCache.key(*self._depends_on, repr(shape), repr(properties), begins)
        try:
            compiled = self._imported(key, properties) or self._built(shape, key, properties)
            self._require_precision(compiled)
        except BackendError:
            raise
        # Everything OpenVINO raises is a RuntimeError or a TypeError of its bindings.
        except Exception as error:
            raise self._failed(error) from error
        return compiled

    def _unet(self, shape: tuple[int, int, int]) -> Any:
        first = self._first
        features = (first.output, len(first.bias)) if first else None
        return build_unet(self._graph, self._tail.prediction, shape, features)

    def _require_precision(self, compiled: Any) -> None:
        """OpenVINO takes a precision for a hint, and goes on in another where it has none."""
        found = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if found != TYPES[self.precision]:
            raise BackendUnavailableError(
                f"OpenVINO cannot compute in {self.precision} on this processor, only in {found}; "
                "use --precision fp32"
            )

    def _imported(self, key: str, properties: dict[str, Any]) -> Any:
        stored = self._cache.get(key)
        if stored is None:
            return None
        try:
            return self._core.import_model(stored, "CPU", properties)
        except RuntimeError:  # of a build of OpenVINO that calls itself the same
            return None

    def _built(self, shape: tuple[int, int, int], key: str, properties: dict[str, Any]) -> Any:
        model = self._unet(shape)
        compiled = self._core.compile_model(model, "CPU", properties)
        self._cache.put(key, compiled.export_model().getvalue())
        return compiled

    def _failed(self, error: Exception) -> BackendError:
        return BackendError(f"openvino {self.version} failed on {self._path}: {one_line(error)}")
