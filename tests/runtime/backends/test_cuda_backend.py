"""Our own kernels as a backend: their source on the CPU against onnxruntime, and on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emulated_device import EmulatedDevice, why_not_emulated
from vmexport.artifact import ExportOptions, export_artifact
from vmexport.networks import PooledUNet, RegistrationNetwork, StridedUNet, Tail
from vmruntime import Artifact, BackendError, Registrar
from vmruntime.backends.cuda import CudaBackend
from vmruntime.backends.onnxruntime import OnnxRuntimeBackend
from vmruntime.cuda.probe import probe
from vmruntime.errors import BackendUnavailableError, DeviceMemoryError
from vmruntime.io.images import read_scan

SHAPE = (8, 12, 16)

HALF = 2e-3
"""Of the largest displacement: every tensor is rounded to FP16, here and there in another order."""

needs_gpu = pytest.mark.skipif(not probe().devices, reason=probe().reason or "a GPU is there")

Save = Callable[..., Artifact]


@pytest.fixture(scope="module")
def save(tmp_path_factory: pytest.TempPathFactory) -> Save:
    """Export a network or checkpoint with these options, in FP16 unless told."""
    folder = tmp_path_factory.mktemp("artifacts")

    def export(source: Any, shape: tuple[int, int, int] | None = SHAPE, **options: Any) -> Artifact:
        path = folder / f"{len(list(folder.iterdir()))}.onnx"
        chosen = {"precision": "fp16", "max_error": 1.0, "p99_error": 1.0, **options}
        export_artifact(source, path, ExportOptions(shape=shape, **chosen))
        return Artifact.read(path)

    return export


@pytest.fixture
def device() -> EmulatedDevice:
    if reason := why_not_emulated():
        pytest.skip(reason)
    return EmulatedDevice()


def pooled(
    tail: Tail,
    skipped: int = 1,
    encoder: Any = ((4,), (8, 6)),
    decoder: Any = ((8, 5), (6,)),
    remaining: Any = (7,),
) -> RegistrationNetwork:
    network = RegistrationNetwork(PooledUNet(2, encoder, decoder, remaining, skipped), tail)
    network.flow.weight.data.mul_(20)
    return network.eval()


def pair(shape: tuple[int, int, int]) -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    return {role: random.random((1, 1, *shape), np.float32) for role in ("moving", "fixed")}


NETWORKS = {
    "velocity at half": lambda: pooled(Tail(1, 3, 2)),
    "velocity at full, integrated at half": lambda: pooled(Tail(Fraction(1, 2), 3, 2), 0),
    "velocity at full": lambda: pooled(Tail(1, 2, 1), 0),
    "displacement at half": lambda: pooled(Tail(1, 0, 2)),
    "displacement at full": lambda: pooled(Tail(1, 0, 1), 0),
    "more than 32 channels": lambda: pooled(
        Tail(1, 2, 2), 1, ((16,), (32, 48)), ((40,), (32,)), (16, 34)
    ),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_as_onnxruntime(save: Save, device: EmulatedDevice, kind: str) -> None:
    artifact = save(NETWORKS[kind]())
    backend, reference = CudaBackend(artifact, gpu=device), OnnxRuntimeBackend(artifact)
    feeds, outputs = pair(SHAPE), [output.name for output in reference.outputs]
    found, expected = backend.run(feeds, outputs), reference.run(feeds, outputs)
    for name in outputs:
        scale = np.abs(expected[name]).max()
        assert found[name].shape == expected[name].shape
        assert np.abs(found[name] - expected[name]).max() < HALF * max(1, scale), name
    (moved,) = backend.run(feeds, ["moved"]).values()
    np.testing.assert_array_equal(moved, found["moved"])
    backend.close()
    assert device.allocated == 0


def test_memory_is_used_again(save: Save, device: EmulatedDevice) -> None:
    artifact = save(pooled(Tail(1, 2, 2)), dynamic=True)
    backend = CudaBackend(artifact, gpu=device)
    first = backend.run(pair((8, 8, 8)), ["displacement"])["displacement"]
    backend.run(pair(SHAPE), ["displacement"])
    allocated = device.allocated
    again = backend.run(pair((8, 8, 8)), ["displacement"])["displacement"]
    backend.run(pair(SHAPE), ["displacement"])
    assert device.allocated == allocated
    np.testing.assert_array_equal(first, again)
    with pytest.raises(BackendError, match="multiples of 4 voxels, not 8 x 8 x 6"):
        backend.run(pair((8, 8, 6)), ["displacement"])
    with pytest.raises(BackendError, match="no output 'velocity'"):
        backend.run(pair(SHAPE), ["velocity"])
    backend.close()
    with pytest.raises(BackendError, match="closed; load it again"):
        backend.run(pair(SHAPE), ["displacement"])


def test_a_run_without_memory_leaves_it_usable(save: Save, device: EmulatedDevice) -> None:
    artifact = save(pooled(Tail(1, 2, 2)))
    expected = CudaBackend(artifact, gpu=EmulatedDevice()).run(pair(SHAPE), ["displacement"])
    backend = CudaBackend(artifact, gpu=device)
    short = 0
    for room in range(0, 1_000_000, 8_000):
        device.memory_bytes = device.allocated + room
        try:
            found = backend.run(pair(SHAPE), ["displacement"])
        except DeviceMemoryError:
            short += 1
            continue
        np.testing.assert_array_equal(found["displacement"], expected["displacement"])
        break
    assert short > 2
    backend.close()
    assert device.allocated == 0


def test_in_a_registrar(save: Save, device: EmulatedDevice) -> None:
    artifact = save(pooled(Tail(1, 2, 2)), voxel_size=(2, 2, 2))
    with Registrar(artifact.manifest, CudaBackend(artifact, gpu=device), 1) as registrar:
        assert registrar.backend.name == "cuda"
        assert registrar.backend.precision == "fp16"
        assert type(registrar.workplace).__name__ == "DeviceWorkplace"


@pytest.mark.parametrize(
    ("options", "given", "message"),
    [
        ({"precision": "fp32"}, {}, r"computes in fp16, and \S+ is fp32; export it again with"),
        ({}, {"precision": "fp32"}, "computes in fp16, not fp32"),
        ({}, {"device": "cpu"}, "runs on an NVIDIA GPU, not on the CPU"),
    ],
)
def test_refusals(
    save: Save, device: EmulatedDevice, options: Any, given: Any, message: str
) -> None:
    with pytest.raises(BackendUnavailableError, match=message):
        CudaBackend(save(pooled(Tail(1, 2, 2)), **options), gpu=device, **given)
    assert device.allocated == 0


def test_more_channels_than_a_launch_reads(save: Save, device: EmulatedDevice) -> None:
    """Refused after some weights were sent up: they are given back."""
    wide = pooled(Tail(1, 2, 2), 1, ((4,), (400,)), ((8,), (6,)), (7,))
    with pytest.raises(BackendUnavailableError, match="up to 192 channels into one convolution"):
        CudaBackend(save(wide), gpu=device)
    assert device.allocated == 0


def test_a_strided_unet(save: Save, device: EmulatedDevice) -> None:
    network = RegistrationNetwork(StridedUNet(2, [4, 8], [[8], [6, 5]], [7, 4]), Tail(1, 2, 1))
    with pytest.raises(BackendUnavailableError, match="does not know the operator"):
        CudaBackend(save(network.eval()), gpu=device)


@pytest.mark.skipif(bool(probe().devices), reason="a GPU is there")
def test_without_a_gpu(save: Save) -> None:
    with pytest.raises(BackendUnavailableError, match=r"no NVIDIA driver|sees no GPU"):
        CudaBackend(save(pooled(Tail(1, 2, 2))))


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("kind", NETWORKS)
def test_networks_on_a_gpu(save: Save, kind: str) -> None:
    artifact = save(NETWORKS[kind](), (16, 24, 40))
    backend, reference = CudaBackend(artifact), OnnxRuntimeBackend(artifact)
    outputs = [output.name for output in reference.outputs]
    for seed in range(4):  # as such, recorded, and from the recording
        feeds = {role: np.roll(scan, seed, 3) for role, scan in pair((16, 24, 40)).items()}
        found, expected = backend.run(feeds, outputs), reference.run(feeds, outputs)
        for name in outputs:
            scale = max(1, np.abs(expected[name]).max())
            assert np.abs(found[name] - expected[name]).max() < HALF * scale, name
    backend.close()


@pytest.mark.gpu
@needs_gpu
def test_the_official_model_on_a_gpu(save: Save, assets: Path) -> None:
    checkpoint = assets / "models" / "vxm_dense_brain_T1_3D_mse.pt"
    fp16, fp32 = (save(checkpoint, None, precision=precision) for precision in ("fp16", "fp32"))
    scans = [read_scan(assets / "scans" / f"{name}_aligned.nii.gz")
             for name in ("subject_n", "test_scan")]  # fmt: skip
    with Registrar.load(fp32, device="cpu", backend="onnxruntime") as reference:
        expected = reference.register(*scans).displacement.data
    with Registrar.load(fp16, backend="cuda") as registrar:
        for _ in range(3):
            found = registrar.register(*scans).displacement.data
            error = np.linalg.norm(found - expected, axis=0)
            assert np.percentile(error, 99) < 0.02
            assert error.max() < 0.1
