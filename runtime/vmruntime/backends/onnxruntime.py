"""ONNX Runtime on the CPU: the reference engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from vmruntime.backends.onnxruntime_sessions import Sessions, require_fit
from vmruntime.errors import BackendUnavailableError

if TYPE_CHECKING:
    from vmruntime.artifact import Artifact

__all__ = ["OnnxRuntimeBackend"]


class OnnxRuntimeBackend:
    """A model in ONNX Runtime's CPU provider.

    ``vxm::Warp3d`` runs through the function body that the model carries.

    Parameters
    ----------
    artifact
        The ONNX model.
    device
        ``"cpu"`` or ``"auto"``.
    threads
        Threads of one run; None for all cores.
    precision
        ``"auto"``, or what the file is in.
    arena
        Keep the working memory from run to run; a single run does with less without.

    Raises
    ------
    BackendUnavailableError
        onnxruntime is not installed, the file is a plan, or another device or precision was asked
        for.
    BackendError
        onnxruntime does not take the model.
    """

    name = "onnxruntime"
    checks_fields = False
    device = "cpu"

    def __init__(
        self,
        artifact: Artifact,
        device: str = "auto",
        threads: int | None = None,
        precision: str = "auto",
        *,
        arena: bool = True,
    ) -> None:
        if device not in ("auto", "cpu"):
            raise BackendUnavailableError(
                f"onnxruntime's CPU provider cannot use {device!r}; use --device cpu"
            )
        self.precision = require_fit(artifact, precision)
        self._sessions = Sessions(artifact, threads, ("CPUExecutionProvider", {}), arena=arena)
        self.version = self._sessions.version
        self.inputs = self._sessions.inputs
        self.outputs = self._sessions.outputs

    def run(
        self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        """Compute the named outputs; see `Backend.run`."""
        session = self._sessions.get(frozenset(outputs))
        try:
            return dict(zip(outputs, session.run(list(outputs), dict(feeds)), strict=True))
        except Exception as error:
            raise self._sessions.failed(error) from error

    def close(self) -> None:
        """Release the sessions; see `Backend.close`."""
        self._sessions.close()
