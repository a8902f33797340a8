"""ONNX Runtime: what both devices share, and the GPU's memory in an emulated device."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from emulated_device import EmulatedDevice, why_not_emulated
from synthetic_scans import MODEL_SHAPE, textured
from vmruntime import Artifact, BackendError, BackendUnavailableError
from vmruntime.backends import Backend, DeviceBackend, open_backend
from vmruntime.backends.gpu import DeviceBuffers, find_gpu
from vmruntime.backends.onnxruntime_cuda import OnnxRuntimeCudaBackend, heavy_nodes_on_cpu
from vmruntime.backends.onnxruntime_sessions import Sessions
from vmruntime.cuda.device import Device
from vmruntime.cuda.probe import probe
from vmruntime.errors import DeviceLostError, DeviceMemoryError

NAMES = ["displacement", "inverse_displacement"]

GPU_ERROR = 1e-3
"""Voxels between the CPU and the GPU in float32, as the export's limit."""

TENSOR = 4 * int(np.prod(MODEL_SHAPE))
"""Bytes of a scan; a field has three times as many."""


class OnHostMemory(OnnxRuntimeCudaBackend):
    """The GPU's backend with everything but the GPU: CPU provider, memory of an emulated device."""

    provider: ClassVar[str] = "CPUExecutionProvider"
    memory: ClassVar[str] = "cpu"
    room: ClassVar[int] = 1 << 30

    def _find(self, device: str) -> tuple[int, Device]:
        return 0, EmulatedDevice(self.room)

    def _options(self, stream: int) -> dict[str, str]:
        return {}


def feeds(shape: tuple[int, int, int] = MODEL_SHAPE) -> dict[str, np.ndarray]:
    return {
        name: textured(shape, seed, 1.0)[None, None].astype(np.float32)
        for seed, name in enumerate(("moving", "fixed"))
    }


@pytest.fixture
def artifact(tiny_artifact: Path) -> Artifact:
    return Artifact.read(tiny_artifact)


@pytest.fixture
def on_device(artifact: Artifact) -> OnHostMemory:
    if reason := why_not_emulated():
        pytest.skip(reason)
    return OnHostMemory(artifact, threads=1)


def expected(artifact: Artifact) -> dict[str, np.ndarray]:
    backend = open_backend(artifact, "onnxruntime", "cpu", 1)
    try:
        return backend.run(feeds(), ["moved", *NAMES])
    finally:
        backend.close()


# Memory of the device ----------------------------------------------------------------------------


def test_the_same_answer(on_device: OnHostMemory, artifact: Artifact) -> None:
    assert isinstance(on_device, DeviceBackend)
    assert on_device.device == "cuda:0 emulated GPU"
    reference = expected(artifact)
    for names in (NAMES, ["moved"], NAMES[1:]):
        found = on_device.run(feeds(), names)
        assert list(found) == names
        for name in names:
            np.testing.assert_array_equal(found[name], reference[name])
    on_device.close()


def test_only_what_is_asked_for_comes_down(on_device: OnHostMemory) -> None:
    gpu = on_device.gpu
    assert isinstance(gpu, EmulatedDevice)
    on_device.run(feeds(), ["displacement"])
    assert (gpu.uploaded, gpu.downloaded) == (2 * TENSOR, 3 * TENSOR)
    on_device.run(feeds(), NAMES)
    assert (gpu.uploaded, gpu.downloaded) == (4 * TENSOR, 9 * TENSOR)
    on_device.close()


def test_memory_is_allocated_once(on_device: OnHostMemory) -> None:
    gpu = on_device.gpu
    assert isinstance(gpu, EmulatedDevice)
    on_device.run(feeds(), NAMES)
    held = gpu.allocated
    assert held == 8 * TENSOR
    for _ in range(5):
        on_device.run(feeds(), NAMES)
        assert gpu.allocated == held
    on_device.close()
    assert gpu.closed
    assert gpu.allocated == 0


def test_inputs_and_outputs_that_stay_there(on_device: OnHostMemory, artifact: Artifact) -> None:
    gpu = on_device.gpu
    up = {name: gpu.allocate(array.nbytes) for name, array in feeds().items()}
    for name, array in feeds().items():
        gpu.upload(array, up[name])
    down = {name: gpu.allocate(3 * TENSOR) for name in NAMES}
    on_device.run_on_device(
        {name: memory.address for name, memory in up.items()},
        {name: memory.address for name, memory in down.items()},
        MODEL_SHAPE,
        gpu.stream,
    )
    reference = expected(artifact)
    for name in NAMES:
        found = gpu.download(down[name], (1, 3, *MODEL_SHAPE), np.float32)
        np.testing.assert_array_equal(found, reference[name])
    on_device.close()
    with pytest.raises(BackendError, match="is closed; load it again"):
        on_device.run_on_device({}, {}, MODEL_SHAPE, gpu.stream)


def test_another_grid_is_one_error_and_the_next_run_works(on_device: OnHostMemory) -> None:
    with pytest.raises(BackendError, match="onnxruntime failed on"):
        on_device.run(feeds((16, 32, 32)), ["displacement"])
    assert np.isfinite(on_device.run(feeds(), ["displacement"])["displacement"]).all()
    on_device.close()


def test_too_little_memory_leaves_it_usable(artifact: Artifact) -> None:
    if reason := why_not_emulated():
        pytest.skip(reason)

    class Small(OnHostMemory):
        room: ClassVar[int] = 6 * TENSOR

    backend = Small(artifact, threads=1)
    with pytest.raises(DeviceMemoryError):
        backend.run(feeds(), NAMES)
    assert set(backend.run(feeds(), NAMES[:1])) == {"displacement"}
    backend.close()


class Lost(EmulatedDevice):
    """A device that fails when results are to come down, and then at each call."""

    lost = False

    @property
    def closed(self) -> bool:
        return self.lost or super().closed

    def _fail(self) -> None:
        raise DeviceLostError("the GPU fell off")

    def download(self, *_: object) -> np.ndarray:  # type: ignore[override]
        self.lost = True
        self._fail()
        raise AssertionError

    def free(self, memory: object) -> None:
        if self.lost:
            self._fail()


def test_a_lost_device_closes_it(artifact: Artifact) -> None:
    if reason := why_not_emulated():
        pytest.skip(reason)

    class OnLost(OnHostMemory):
        def _find(self, device: str) -> tuple[int, Device]:
            return 0, Lost()

    backend = OnLost(artifact, threads=1)
    with pytest.raises(DeviceLostError, match="fell off"):
        backend.run(feeds(), ["displacement"])
    with pytest.raises(BackendError, match="is closed; load it again"):
        backend.run(feeds(), ["displacement"])
    backend.close()


def test_buffers_grow_and_are_given_back() -> None:
    if reason := why_not_emulated():
        pytest.skip(reason)
    gpu = EmulatedDevice()
    buffers = DeviceBuffers(gpu)
    small = buffers.get("a", (1, 3, 4))
    assert buffers.get("a", (1, 2, 3)) is small
    assert buffers.get("a", (1, 3, 5)) is not small
    assert gpu.allocated == 60
    buffers.get("b", (2,))
    assert gpu.allocated == 68
    buffers.close()
    buffers.close()
    assert gpu.allocated == 0


# The library -------------------------------------------------------------------------------------


def test_where_nodes_run_is_known(artifact: Artifact) -> None:
    """On the CPU everything is on the CPU: the check would refuse such a session on a GPU."""
    session = Sessions(artifact, 1, ("CPUExecutionProvider", {})).get(frozenset({"displacement"}))
    if not hasattr(session, "get_provider_graph_assignment_info"):
        pytest.skip("this onnxruntime does not say where its nodes run")
    assert {"Conv", "GridSample"} <= set(heavy_nodes_on_cpu(session))


def test_a_provider_that_is_not_built_in(artifact: Artifact) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(BackendUnavailableError, match=r"for the CPU only.*deploy\[gpu\]"):
        Sessions(artifact, 1, ("CUDAExecutionProvider", {}))


def test_closed(artifact: Artifact) -> None:
    backend: Backend = open_backend(artifact, "onnxruntime", "cpu", 1)
    backend.close()
    backend.close()
    with pytest.raises(BackendError, match="is closed; load it again"):
        backend.run(feeds(), NAMES)


def test_the_cpu_class_takes_no_gpu(artifact: Artifact) -> None:
    from vmruntime.backends.onnxruntime import OnnxRuntimeBackend

    with pytest.raises(BackendUnavailableError, match="use --device cpu"):
        OnnxRuntimeBackend(artifact, "cuda")


# On a GPU ----------------------------------------------------------------------------------------


@pytest.fixture
def cuda(artifact: Artifact) -> Backend:
    try:
        find_gpu("cuda")
        return open_backend(artifact, "onnxruntime", "cuda")
    except BackendUnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.gpu
def test_the_gpu_against_the_cpu(cuda: Backend, artifact: Artifact) -> None:
    reference = expected(artifact)
    for _ in range(3):
        found = cuda.run(feeds(), NAMES)
        for name in NAMES:
            assert np.abs(found[name] - reference[name]).max() < GPU_ERROR
    cuda.close()


@pytest.mark.gpu
def test_a_replayed_graph_gives_the_same(cuda: Backend, artifact: Artifact) -> None:
    plain = cuda.run(feeds(), NAMES)
    cuda.close()
    graph = OnnxRuntimeCudaBackend(artifact, cuda_graph=True)
    for _ in range(4):
        for name, field in graph.run(feeds(), NAMES).items():
            np.testing.assert_array_equal(field, plain[name])
    graph.close()


@pytest.mark.gpu
def test_a_gpu_that_there_is_not() -> None:
    if not probe().devices:
        pytest.skip(probe().reason)
    with pytest.raises(BackendUnavailableError, match=r"there is no GPU cuda:99; this machine has"):
        find_gpu("cuda:99")
