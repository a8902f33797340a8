"""TensorRT and TensorRT-RTX: plans that vm-export built. Unverified: none has run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from vmruntime.backends.gpu import GpuBackend, find_gpu
from vmruntime.backends.protocol import TensorSpec
from vmruntime.backends.tensorrt_library import TITLES, EngineLibrary, mismatch
from vmruntime.errors import (
    BackendError,
    BackendUnavailableError,
    DeviceMemoryError,
)

if TYPE_CHECKING:
    from vmruntime.artifact import Artifact

__all__ = ["TensorRTBackend", "TensorRTRTXBackend"]


class TensorRTBackend(GpuBackend):
    """A plan in TensorRT, or in its lean runtime where that is all there is.

    Memory on the GPU, activations included, is allocated while loading or at the first run on a
    larger grid, and used again. Calls take turns: there is one execution context.

    Parameters
    ----------
    artifact
        The plan.
    device
        ``"cuda"``, ``"cuda:N"`` or ``"auto"``.
    threads
        Unused: the GPU has its own.
    precision
        ``"auto"``, or what the plan was built in.
    cuda_graph
        TensorRT-RTX only: record the launches of a run and replay them. Off until it has been
        measured where it pays.

    Raises
    ------
    BackendUnavailableError
        No GPU or driver, the library is not installed, or the plan was built for another version
        or GPU; the message names both.
    BackendError
        The library does not take the plan.
    """

    name = "tensorrt"
    target: ClassVar[str] = "tensorrt"

    def __init__(
        self,
        artifact: Artifact,
        device: str = "auto",
        threads: int | None = None,
        precision: str = "auto",
        *,
        cuda_graph: bool = False,
    ) -> None:
        self.precision = self._require_fit(artifact, device, precision)
        try:
            facts = find_gpu(device)
        except BackendUnavailableError as error:
            raise BackendUnavailableError(
                f"{artifact.path}: a plan needs an NVIDIA GPU ({error}); model.onnx, which it was "
                "built from, runs on this machine"
            ) from None
        self._library = EngineLibrary(artifact)
        wrong = mismatch(artifact, self._library.version, facts)
        if wrong:
            raise BackendUnavailableError(wrong)
        from vmruntime.cuda.cuda_device import CudaDevice

        self.version = self._library.version
        self.device = f"cuda:{facts.ordinal} {facts.name}"
        self._engine: Any = None
        self._context: Any = None
        self._cuda = CudaDevice(facts.ordinal)
        super().__init__(artifact.path, self._cuda)
        try:
            with self._cuda.current():
                self._engine = self._library.load(artifact.model)
                self._context = self._library.context(self._engine, cuda_graph=cuda_graph)
            if self._context is None:
                raise self._failure("cannot be made ready")
            self.inputs, self.outputs = self._signature()
        except BaseException:
            self.close()
            raise

    def _require_fit(self, artifact: Artifact, device: str, precision: str) -> str:
        """Refuse what no machine could do: other files, the CPU, another precision."""
        title = TITLES[self.target]
        if artifact.kind != "plan":
            raise BackendUnavailableError(
                f"{title} runs plans, and {artifact.path} is an ONNX model; build one with "
                f"vm-export {artifact.path.name} --engine model.plan --target {self.target}, or "
                "leave the backend to auto"
            )
        engine = artifact.manifest.engine
        if engine["target"] != self.target:
            raise BackendUnavailableError(
                f"{artifact.path} was built for {TITLES[engine['target']]}, not for {title}; leave "
                "the backend to auto"
            )
        if device == "cpu":
            raise BackendUnavailableError(
                f"{artifact.path}: a plan needs an NVIDIA GPU, not the CPU; model.onnx, which it "
                "was built from, runs on the CPU"
            )
        built = str(engine["precision"])
        if precision not in ("auto", built):
            raise BackendUnavailableError(
                f"{artifact.path} was built in {built}, not {precision}; leave the precision to "
                "auto, or build a plan in it with vm-export --engine"
            )
        return built

    def _signature(self) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """Inputs and outputs as the engine has them."""
        inputs: list[TensorSpec] = []
        outputs: list[TensorSpec] = []
        for number in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(number)
            if not self._library.is_float32(self._engine, name):
                raise BackendError(
                    f"{self._path}: {name} is not float32; build the plan with vm-export --engine"
                )
            shape = tuple(None if n < 0 else int(n) for n in self._engine.get_tensor_shape(name))
            spec = TensorSpec(name, "float", shape)
            (inputs if self._library.is_input(self._engine, name) else outputs).append(spec)
        return tuple(inputs), tuple(outputs)

    def _enqueue(
        self,
        feeds: Mapping[str, int],
        outputs: Mapping[str, int],
        shape: tuple[int, int, int],
        stream: int,
    ) -> None:
        with self._cuda.current():
            for spec in self.inputs:
                self._set_shape(spec, shape)
                self._context.set_tensor_address(spec.name, feeds[spec.name])
            for spec in self.outputs:
                # The engine computes them all, and later ones may be computed from earlier ones:
                # each has memory of its own.
                address = outputs.get(spec.name)
                if address is None:
                    size = self._shape_of(spec.name, shape)
                    address = self._buffers.get(f"unwanted {spec.name}", size).address
                self._context.set_tensor_address(spec.name, address)
            queued = self._context.execute_async_v3(stream)
        if not queued:
            # Raises what the GPU itself has to say, where it is lost or out of memory.
            self.gpu.synchronize()
            raise self._failure("failed")

    def _set_shape(self, spec: TensorSpec, shape: tuple[int, int, int]) -> None:
        size = (1, spec.shape[1] or 1, *shape)
        fits = all(n in (None, wanted) for n, wanted in zip(spec.shape, size, strict=True))
        # A shape outside the plan's range is refused by the context.
        if not fits or (None in spec.shape and not self._context.set_input_shape(spec.name, size)):
            raise BackendError(
                f"{self._path} does not take a grid of {' x '.join(map(str, shape))} voxels "
                f"({self._range(spec)}); build it again with --min-shape and --max-shape around it"
            )

    def _range(self, spec: TensorSpec) -> str:
        smallest, _, largest = self._engine.get_tensor_profile_shape(spec.name, 0)
        low, high = (" x ".join(map(str, list(s)[2:])) for s in (smallest, largest))
        return f"{low} only" if low == high else f"{low} to {high}"

    def _failure(self, what: str) -> BackendError:
        said = self._library.reason()
        if "memory" in said.lower():
            needed = self._library.activation_bytes(self._engine) / 2**20
            return DeviceMemoryError(
                f"{self.gpu.name} has too little free memory for {self._path}, which needs "
                f"{needed:.0f} MiB for activations; close other programs on it, or build the plan "
                "in fp16"
            )
        return BackendError(f"{self._path} {what} in {self._library.title}: {said}")

    def _drop(self) -> None:
        # In this order: a context must not outlive its engine.
        self._context = None
        self._engine = None


class TensorRTRTXBackend(TensorRTBackend):
    """A plan in TensorRT-RTX; see `TensorRTBackend`."""

    name = "tensorrt-rtx"
    target: ClassVar[str] = "rtx"
