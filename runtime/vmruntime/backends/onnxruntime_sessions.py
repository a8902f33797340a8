"""ONNX Runtime's sessions for one artifact: one for each set of outputs that is asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vmruntime.backends.protocol import TensorSpec
from vmruntime.errors import BackendError, BackendUnavailableError, one_line
from vmruntime.onnx_file import select_outputs

if TYPE_CHECKING:
    import onnxruntime as ort

    from vmruntime.artifact import Artifact

__all__ = ["FATAL_ONLY", "GPU_EXTRA", "Sessions", "require_fit"]

ERRORS_ONLY = 3
FATAL_ONLY = 4

GPU_EXTRA = "pip uninstall onnxruntime && pip install 'voxelmorph-deploy[gpu]'"


def require_fit(artifact: Artifact, precision: str) -> str:
    """What ONNX Runtime computes this file in: what its graph says, and nothing else.

    Raises
    ------
    BackendUnavailableError
        Something else was asked for, or the file is no ONNX model.
    """
    if artifact.kind != "onnx":
        raise BackendUnavailableError(
            f"onnxruntime runs ONNX models, and {artifact.path} is a plan; give the model.onnx "
            "that it was built from, or leave the backend to auto"
        )
    own = artifact.manifest.precision
    if precision not in ("auto", own):
        remedy = (
            "openvino computes in bf16: --backend openvino"
            if precision == "bf16"
            else f"export the model again with --precision {precision}"
        )
        raise BackendUnavailableError(
            f"onnxruntime computes in the precision of the file, and {artifact.path} is {own}, not "
            f"{precision}; {remedy}"
        )
    return own


class Sessions:
    """Sessions, made the first time they are needed.

    ONNX Runtime computes every output of a model, so that each set of outputs gets a session of
    its own (milliseconds and the weights' size).

    Parameters
    ----------
    artifact
        The ONNX model.
    threads
        Threads of one run; None for all cores.
    provider
        ONNX Runtime's name of what runs it, and its options.
    check
        Called with each new session, to refuse it.
    arena
        Keep the working memory from run to run: faster, and up to a quarter more of it.

    Raises
    ------
    BackendUnavailableError
        onnxruntime is not installed, or is without the provider.
    BackendError
        onnxruntime does not take the model.
    """

    def __init__(
        self,
        artifact: Artifact,
        threads: int | None,
        provider: tuple[str, dict[str, str]],
        check: Callable[[ort.InferenceSession], None] = lambda _: None,
        arena: bool = True,
    ) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise BackendUnavailableError(
                "onnxruntime is not installed; pip install 'voxelmorph-deploy[cpu]'"
            ) from error
        self._ort = onnxruntime
        self._path = artifact.path
        self._model = artifact.model
        self._threads = threads
        self._provider = provider
        self._check = check
        self._arena = arena
        self._lock = threading.Lock()
        self._sessions: dict[frozenset[str], ort.InferenceSession] | None = {}
        self.version: str = onnxruntime.__version__
        if provider[0] not in onnxruntime.get_available_providers():
            raise BackendUnavailableError(
                f"this onnxruntime {self.version} is built for the CPU only; for the GPU: "
                f"{GPU_EXTRA}"
            )
        # Unoptimized, to read the signature; the working sessions are made when needed.
        everything = self._open(self._model, ("CPUExecutionProvider", {}), optimize=False)
        self.inputs = tuple(_spec(tensor) for tensor in everything.get_inputs())
        self.outputs = tuple(_spec(tensor) for tensor in everything.get_outputs())

    def get(self, outputs: frozenset[str]) -> ort.InferenceSession:
        """The session that computes these outputs.

        Raises
        ------
        BackendError
            Closed, or onnxruntime does not take the model.
        """
        with self._lock:
            if self._sessions is None:
                raise BackendError(f"the model {self._path} is closed; load it again")
            if outputs not in self._sessions:
                model = select_outputs(self._model, outputs)
                session = self._open(model, self._provider, optimize=True)
                self._check(session)
                self._sessions[outputs] = session
            return self._sessions[outputs]

    def failed(self, error: Exception) -> BackendError:
        """What onnxruntime raised while running, as an error of ours."""
        return BackendError(f"onnxruntime failed on {self._path}: {one_line(error)}")

    def close(self) -> None:
        """Release the sessions; any number of times."""
        with self._lock:
            self._sessions = None

    def _open(
        self, model: bytes, provider: tuple[str, dict[str, str]], *, optimize: bool
    ) -> ort.InferenceSession:
        options = self._ort.SessionOptions()
        on_gpu = provider[0] != "CPUExecutionProvider"
        # On a GPU onnxruntime logs what it also raises, or what the check of the session says.
        options.log_severity_level = FATAL_ONLY if on_gpu else ERRORS_ONLY
        options.enable_cpu_mem_arena = self._arena
        if self._threads is not None:
            options.intra_op_num_threads = self._threads
        level = self._ort.GraphOptimizationLevel
        options.graph_optimization_level = (
            level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
        )
        # So that it can be asked where each node runs.
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        try:
            return self._ort.InferenceSession(
                model, options, providers=[provider], enable_fallback=0
            )
        # onnxruntime's exceptions derive from Exception and share no base of their own.
        except Exception as error:
            raise BackendError(
                f"onnxruntime {self.version} does not take {self._path}: {one_line(error)}"
            ) from error


def _spec(tensor: Any) -> TensorSpec:
    shape = tuple(n if isinstance(n, int) else None for n in tensor.shape)
    return TensorSpec(tensor.name, tensor.type.removeprefix("tensor(").removesuffix(")"), shape)
