"""ONNX Runtime on an NVIDIA GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from vmruntime.backends.gpu import GpuBackend, find_gpu
from vmruntime.backends.onnxruntime_sessions import FATAL_ONLY, GPU_EXTRA, Sessions, require_fit
from vmruntime.errors import (
    BackendError,
    BackendUnavailableError,
    DeviceMemoryError,
    one_line,
)

if TYPE_CHECKING:
    import onnxruntime as ort

    from vmruntime.artifact import Artifact
    from vmruntime.cuda.device import Device

__all__ = ["OnnxRuntimeCudaBackend", "heavy_nodes_on_cpu"]

PROVIDER = "CUDAExecutionProvider"

HEAVY = {"Conv", "ConvTranspose", "GridSample", "Resize", "MaxPool", "LeakyRelu"}
"""Operators whose tensors would travel between GPU and CPU if one of them ran on the CPU. Those on
shapes are at home there."""


class OnnxRuntimeCudaBackend(GpuBackend):
    """A model in ONNX Runtime's CUDA provider, its inputs and outputs in memory of our own.

    The U-Net runs in the precision of the file: float32 is float32, not TF32. Calls take turns.

    Parameters
    ----------
    artifact
        The ONNX model.
    device
        ``"cuda"``, ``"cuda:N"`` or ``"auto"``.
    threads
        Threads of what is left for the CPU.
    precision
        ``"auto"``, or what the file is in.
    cuda_graph
        Record a run's launches once for each set of addresses and replay them. Off until it has
        been measured where it pays.
    options
        Of ONNX Runtime's provider, instead of ours and its own.

    Raises
    ------
    BackendUnavailableError
        No GPU or driver, or an onnxruntime without CUDA.
    BackendError
        onnxruntime does not take the model, or would run parts of it on the CPU.
    """

    name = "onnxruntime"
    provider: ClassVar[str] = PROVIDER
    memory: ClassVar[str] = "cuda"
    """ONNX Runtime's word for where inputs and outputs lie."""

    def __init__(
        self,
        artifact: Artifact,
        device: str = "auto",
        threads: int | None = None,
        precision: str = "auto",
        *,
        cuda_graph: bool = False,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self._chosen = dict(options or {})
        self.precision = require_fit(artifact, precision)
        self._artifact, self._threads = artifact, threads
        self._graph = cuda_graph
        self._graphs: dict[tuple[int, ...], int] = {}
        self._by_stream: dict[int, Sessions] = {}
        self._ordinal, gpu = self._find(device)
        super().__init__(artifact.path, gpu)
        self.device = f"cuda:{self._ordinal} {gpu.name}"
        try:
            sessions = self._of_stream(self.gpu.stream)
            self.version = sessions.version
            self.inputs, self.outputs = sessions.inputs, sessions.outputs
            # The first session now: what the GPU does not take is refused while loading.
            sessions.get(frozenset({"displacement"}))
        except BaseException:
            self.close()
            raise

    def _enqueue(
        self,
        feeds: Mapping[str, int],
        outputs: Mapping[str, int],
        shape: tuple[int, int, int],
        stream: int,
    ) -> None:
        sessions = self._of_stream(stream)
        session = sessions.get(frozenset(outputs))
        binding = session.io_binding()
        for bind, specs, addresses in (
            (binding.bind_input, self.inputs, feeds),
            (binding.bind_output, self.outputs, outputs),
        ):
            channels = {spec.name: spec.shape[1] or 1 for spec in specs}
            for name, address in addresses.items():
                size = (1, channels[name], *shape)
                bind(name, self.memory, self._ordinal, np.float32, size, address)
        import onnxruntime

        options = onnxruntime.RunOptions()
        # The stream is waited for where results are taken down.
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        if self._graph:
            key = (stream, *feeds.values(), *outputs.values())
            number = self._graphs.setdefault(key, len(self._graphs) + 1)
            options.add_run_config_entry("gpu_graph_id", str(number))
        try:
            session.run_with_iobinding(binding, options)
        except Exception as error:
            # Raises what the GPU itself has to say, where it is lost.
            self.gpu.synchronize()
            if "Failed to allocate memory" in str(error) or "out of memory" in str(error):
                raise DeviceMemoryError(
                    f"{self.gpu.name} has too little free memory for {self._path} on "
                    f"{' x '.join(map(str, shape))} voxels; close other programs on it, export "
                    "with --precision fp16, or use --device cpu"
                ) from error
            raise sessions.failed(error) from error

    def _of_stream(self, stream: int) -> Sessions:
        """The sessions that run on a stream: onnxruntime takes it when a session is made."""
        if stream not in self._by_stream:
            provider = (self.provider, self._options(stream))
            self._by_stream[stream] = Sessions(
                self._artifact, self._threads, provider, self._require_gpu
            )
        return self._by_stream[stream]

    def _find(self, device: str) -> tuple[int, Device]:
        """The GPU's number, and the GPU."""
        facts = find_gpu(device)
        _load_libraries()
        from vmruntime.cuda.cuda_device import CudaDevice

        return facts.ordinal, CudaDevice(facts.ordinal)

    def _options(self, stream: int) -> dict[str, str]:
        return {
            "device_id": str(self._ordinal),
            "use_tf32": "0",
            # The search over all algorithms takes longer than many a registration.
            "cudnn_conv_algo_search": "HEURISTIC",
            "enable_cuda_graph": "1" if self._graph else "0",
            "user_compute_stream": str(stream),
            **self._chosen,
        }

    def _require_gpu(self, session: ort.InferenceSession) -> None:
        """Refuse a session that onnxruntime, which only logs it, made for the CPU."""
        if self.provider not in session.get_providers():
            raise BackendUnavailableError(
                "onnxruntime could not start its CUDA provider: CUDA or cuDNN is missing or of "
                f"another major version; {GPU_EXTRA}, or use --device cpu"
            )
        left = heavy_nodes_on_cpu(session)
        if left and self.provider == PROVIDER:
            raise BackendError(
                f"onnxruntime would run {', '.join(left)} of {self._path} on the CPU; update "
                "onnxruntime-gpu, or use --device cpu"
            )

    def _drop(self) -> None:
        for sessions in self._by_stream.values():
            sessions.close()
        self._by_stream.clear()


def heavy_nodes_on_cpu(session: ort.InferenceSession) -> list[str]:
    """Operators that do a network's work and were given to the CPU, sorted.

    Empty as well for an onnxruntime (before 1.24) that does not say where its nodes run.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return []
    return sorted(
        {
            node.op_type
            for part in session.get_provider_graph_assignment_info()
            if part.ep_name == "CPUExecutionProvider"
            for node in part.get_nodes()
            if node.op_type in HEAVY
        }
    )


def _load_libraries() -> None:
    """Load CUDA and cuDNN from their wheels, where onnxruntime knows how; it prints if not."""
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendUnavailableError(
            f"onnxruntime is not installed; {GPU_EXTRA.partition('&& ')[2]}"
        ) from error
    if PROVIDER not in onnxruntime.get_available_providers():
        raise BackendUnavailableError(
            f"this onnxruntime {onnxruntime.__version__} is built for the CPU only; for the GPU: "
            f"{GPU_EXTRA}"
        )
    # It logs what it tries and goes on without, line by line, and raises what matters.
    onnxruntime.set_default_logger_severity(FATAL_ONLY)
    if not hasattr(onnxruntime, "preload_dlls"):
        return
    import contextlib
    import io

    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            onnxruntime.preload_dlls()
    except Exception as error:
        raise BackendUnavailableError(
            f"onnxruntime cannot load CUDA and cuDNN: {one_line(error)}; {GPU_EXTRA}"
        ) from error
