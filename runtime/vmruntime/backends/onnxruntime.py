"""ONNX Runtime: the reference engine, on the CPU."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from vmruntime.backends.protocol import TensorSpec
from vmruntime.errors import BackendError, BackendUnavailableError, one_line
from vmruntime.onnx_file import select_outputs

if TYPE_CHECKING:
    import onnxruntime as ort

    from vmruntime.artifact import Artifact

__all__ = ["OnnxRuntimeBackend"]

ERRORS_ONLY = 3


class OnnxRuntimeBackend:
    """A model in ONNX Runtime's CPU provider.

    ``vxm::Warp3d`` runs through the function body that the model carries. ONNX Runtime computes
    every output of a model, so a session is made for each set of outputs that is asked for, the
    first time it is (milliseconds and the weights' size).

    Parameters
    ----------
    artifact
        The model.
    device
        ``"cpu"`` or ``"auto"``.
    threads
        Threads of one run; None for all cores.

    Raises
    ------
    BackendUnavailableError
        onnxruntime is not installed, or another device was asked for.
    BackendError
        onnxruntime does not take the model.
    """

    name = "onnxruntime"

    def __init__(
        self, artifact: Artifact, device: str = "auto", threads: int | None = None
    ) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise BackendUnavailableError(
                "onnxruntime is not installed; pip install 'voxelmorph-deploy[cpu]'"
            ) from error
        if device not in ("auto", "cpu"):
            raise BackendUnavailableError(
                f"the onnxruntime backend runs on the CPU, not on {device!r}; use --device cpu"
            )
        self._ort = onnxruntime
        self._path = artifact.path
        self._model = artifact.model
        self._threads = threads
        self._lock = threading.Lock()
        self._sessions: dict[frozenset[str], ort.InferenceSession] | None = {}
        self.version: str = onnxruntime.__version__
        self.device = "cpu"
        # Unoptimized, to read the signature; the working sessions are made when needed.
        everything = self._open(self._model, optimize=False)
        self.inputs = tuple(_spec(tensor) for tensor in everything.get_inputs())
        self.outputs = tuple(_spec(tensor) for tensor in everything.get_outputs())

    def run(
        self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        """Compute the named outputs; see `Backend.run`."""
        session = self._session(frozenset(outputs))
        try:
            return dict(zip(outputs, session.run(list(outputs), dict(feeds)), strict=True))
        # onnxruntime's exceptions derive from Exception and share no base of their own.
        except Exception as error:
            raise BackendError(f"onnxruntime failed on {self._path}: {one_line(error)}") from error

    def close(self) -> None:
        """Release the sessions; see `Backend.close`."""
        with self._lock:
            self._sessions = None

    def _session(self, outputs: frozenset[str]) -> ort.InferenceSession:
        with self._lock:
            if self._sessions is None:
                raise BackendError(f"the model {self._path} is closed; load it again")
            if outputs not in self._sessions:
                self._sessions[outputs] = self._open(
                    select_outputs(self._model, outputs), optimize=True
                )
            return self._sessions[outputs]

    def _open(self, model: bytes, *, optimize: bool) -> ort.InferenceSession:
        options = self._ort.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        if self._threads is not None:
            options.intra_op_num_threads = self._threads
        level = self._ort.GraphOptimizationLevel
        options.graph_optimization_level = (
            level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
        )
        try:
            return self._ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise BackendError(
                f"onnxruntime {self.version} does not take {self._path}: {one_line(error)}"
            ) from error


def _spec(tensor: Any) -> TensorSpec:
    shape = tuple(n if isinstance(n, int) else None for n in tensor.shape)
    return TensorSpec(tensor.name, tensor.type.removeprefix("tensor(").removesuffix(")"), shape)
