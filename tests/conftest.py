"""What tests of every package share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from fake_backend import FakeBackend, Field
from installed_library import InstalledLibrary, install_library, install_with_engines
from synthetic_scans import (
    MODEL_ORIENTATION,
    MODEL_SHAPE,
    MODEL_VOXEL_SIZE,
    model_volume,
    parcellation,
    textured,
    write_nifti,
)
from vmruntime import Artifact, Manifest, Registrar

HERE = Path(__file__).parent

# The same examples on every run, or a change would be blamed for what chance found.
# VM_FUZZ=5000 searches further, with new examples each time.
FUZZ = int(os.environ.get("VM_FUZZ", "0"))
settings.register_profile(
    "voxelmorph-deploy",
    max_examples=FUZZ or 100,
    derandomize=not FUZZ,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("voxelmorph-deploy")


@pytest.fixture(scope="session")
def assets() -> Path:
    """Folder of third-party models and scans; the test is skipped where it is absent."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "assets"
    folder = Path(os.environ.get("VM_ASSETS", beside))
    if not (folder / "scans").is_dir():
        pytest.skip(f"no third-party models and scans at {folder}; set VM_ASSETS to their folder")
    return folder


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests share a process of ``pytest -n``, and put what takes long first.

    A file stays in one process, for what its fixtures make; all tests of the C library do, so that
    it is built once.
    """
    items.sort(key=lambda item: item.path.parent != HERE)
    for item in items:
        uses_c = "c_library" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("the C library" if uses_c else str(item.path)))


@pytest.fixture(autouse=True)
def _signal_handlers() -> Iterator[None]:
    """Put back what commands that run inside the test process install."""
    before = signal.getsignal(signal.SIGTERM)
    # Ignored where the tests were started in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled models of tests stay out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def manifest() -> Manifest:
    """The manifest of a small diffeomorphic model."""
    return Manifest(
        shape=MODEL_SHAPE,
        stride=16,
        orientation=MODEL_ORIENTATION,
        voxel_size=MODEL_VOXEL_SIZE,
        intensity="divide:255",
        diffeomorphic=True,
        int_steps=3,
        precision="fp32",
        source={"layout": "random weights"},
        versions={"voxelmorph-deploy": "0"},
        verification={"displacement": {"max": 1e-5}},
    )


@pytest.fixture
def registrar(manifest: Manifest) -> Callable[..., Registrar]:
    """A Registrar around a fake backend that gives a known displacement."""

    def build(displacement: Field, inverse: Field | None = None, threads: int = 2) -> Registrar:
        return Registrar(manifest, FakeBackend(displacement, inverse), threads)

    return build


@pytest.fixture(scope="session")
def tiny_network() -> Any:
    """A diffeomorphic network with random weights that displaces by about one and a half voxels."""
    torch = pytest.importorskip("torch", reason="the export extra is not installed")
    from vmexport.networks import PooledUNet, RegistrationNetwork, Tail

    with torch.random.fork_rng():
        torch.manual_seed(5)
        unet = PooledUNet(2, [[4]] * 4, [[6]] * 4, [4], skipped_upsamplings=1)
        network = RegistrationNetwork(unet, Tail(int_steps=3, resize_after=2), inshape=MODEL_SHAPE)
    network.eval()
    pair = [torch.from_numpy(model_volume(seed).data / 255)[None, None] for seed in (0, 1)]
    with torch.no_grad():
        network.flow.bias.zero_()
        network.flow.weight /= network(*pair).abs().max() / 1.5
    return network


@pytest.fixture(scope="session")
def tiny_artifact(
    tiny_network: Any, manifest: Manifest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """`tiny_network` as ``model.onnx``."""
    from vmexport.graph.build import build_model, with_manifest

    path = tmp_path_factory.mktemp("artifact") / "model.onnx"
    path.write_bytes(with_manifest(build_model(tiny_network, MODEL_SHAPE), manifest))
    return path


@pytest.fixture(scope="session")
def tiny_plan(tiny_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_artifact` built by TensorRT-RTX, beside it as ``model.plan``."""
    from tiny_plans import plan_of

    folder = tmp_path_factory.mktemp("plan")
    (folder / "model.onnx").write_bytes(tiny_artifact.read_bytes())
    (folder / "model.plan").write_bytes(plan_of(Artifact.read(tiny_artifact)))
    return folder / "model.plan"


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of a pair on the model grid, read only: moving, fixed, moving_seg, fixed_seg."""
    folder = tmp_path_factory.mktemp("pair")
    values = (0, 2, 41, 2035, 12175)
    return {
        "moving": write_nifti(folder / "moving.nii.gz", textured(MODEL_SHAPE, 0)),
        "fixed": write_nifti(folder / "fixed.nii.gz", textured(MODEL_SHAPE, 1)),
        "moving_seg": write_nifti(
            folder / "moving_seg.nii.gz", parcellation(MODEL_SHAPE, values, 0)
        ),
        "fixed_seg": write_nifti(folder / "fixed_seg.nii.gz", parcellation(MODEL_SHAPE, values, 1)),
    }


@pytest.fixture(scope="session")
def c_library(tmp_path_factory: pytest.TempPathFactory) -> InstalledLibrary:
    """The C library, built with CMake from a copy of the tree and installed."""
    return install_library(tmp_path_factory.mktemp("c_library"))


@pytest.fixture(scope="session")
def c_engines(tmp_path_factory: pytest.TempPathFactory) -> InstalledLibrary:
    """`c_library` with the engines whose headers ONNXRUNTIME_ROOT and TENSORRT_ROOT name."""
    return install_with_engines(tmp_path_factory.mktemp("c_engines"))
