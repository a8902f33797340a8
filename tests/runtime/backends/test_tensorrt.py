"""TensorRT and TensorRT-RTX: what can be known without a GPU, and runs where there is one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthetic_scans import MODEL_SHAPE, textured
from tiny_plans import plan_of
from vmruntime import Artifact, BackendError, BackendUnavailableError
from vmruntime.backends import DeviceBackend, open_backend
from vmruntime.backends.tensorrt import TensorRTBackend, TensorRTRTXBackend
from vmruntime.backends.tensorrt_library import EngineLibrary, mismatch
from vmruntime.cuda.probe import DeviceFacts, probe

ENGINE_ERROR = 1e-3
"""Voxels between a float32 plan and onnxruntime, as the export's limit."""


def gpu(*capability: int) -> DeviceFacts:
    return DeviceFacts(0, "NVIDIA Test", (capability[0], capability[1]), 1 << 34)


def with_engine(artifact: Artifact, **changes: Any) -> Artifact:
    engine = {**artifact.manifest.engine, **changes}
    return replace(artifact, manifest=replace(artifact.manifest, engine=engine))


@pytest.fixture(scope="module")
def plan(tiny_plan: Path) -> Artifact:
    return Artifact.read(tiny_plan)


# Another version, another GPU --------------------------------------------------------------------


def test_a_plan_for_this_version_and_gpu(plan: Artifact) -> None:
    assert mismatch(plan, plan.manifest.engine["version"], gpu(8, 6)) == ""


def test_another_version_of_rtx(plan: Artifact) -> None:
    built = plan.manifest.engine["version"]
    for here in ("1.8.0.3", "1.6.0", "11.0.0"):
        message = mismatch(with_engine(plan, version_compatible=True), here, gpu(8, 6))
        assert message == (
            f"{plan.path} was built with TensorRT-RTX {built} for compute capability 8.6, and here "
            f"are TensorRT-RTX {here} and NVIDIA Test (8.6); build it again here with vm-export "
            f"model.onnx --engine model.plan --target rtx, or install TensorRT-RTX {built}"
        )


def test_another_gpu(plan: Artifact) -> None:
    built = plan.manifest.engine["version"]
    message = mismatch(plan, built, gpu(9, 0))
    assert "for compute capability 8.6, and here are" in message
    assert "NVIDIA Test (9.0); build it again" in message
    assert message.endswith("--target rtx --compute-capability 90")
    several = with_engine(plan, compute_capability=[86, 89, 120])
    assert mismatch(several, built, gpu(8, 9)) == ""
    assert "8.6, 8.9, 12.0" in mismatch(several, built, gpu(7, 5))
    assert mismatch(with_engine(plan, compute_capability=[]), built, gpu(9, 0)) == ""


@pytest.mark.parametrize(
    ("built", "here", "compatible", "runs"),
    [
        ("10.9.0.34", "10.9.0.34", False, True),
        ("10.9.0.34", "10.9.0.35", False, False),
        ("10.9.0.34", "10.10.0.31", False, False),
        ("10.9.0.34", "10.10.0.31", True, True),
        ("10.9.0.34", "11.2.1.4", True, True),
        ("10.9.0.34", "11.2.1.4", False, False),
        ("11.2.1.4", "11.1.0.1", True, False),
        ("11.2.1.4", "10.16.1", True, False),
        ("9.3.0", "11.0.0", True, False),
        ("11.0.0", "12.0.0", True, False),
        ("11.2.1.4", "11.2.1.4+cuda13", False, True),
    ],
)
def test_versions_of_tensorrt(
    plan: Artifact, built: str, here: str, compatible: bool, runs: bool
) -> None:
    other = with_engine(plan, target="tensorrt", version=built, version_compatible=compatible)
    assert (mismatch(other, here, gpu(8, 6)) == "") is runs


@pytest.mark.parametrize(
    ("capability", "runs"), [((8, 0), True), ((9, 0), True), ((12, 0), True), ((7, 5), False)]
)
def test_hardware_compatible_plans(plan: Artifact, capability: tuple[int, int], runs: bool) -> None:
    other = with_engine(plan, target="tensorrt", hardware_compatible=True, compute_capability=[80])
    built = plan.manifest.engine["version"]
    assert (mismatch(other, built, gpu(*capability)) == "") is runs


# The library -------------------------------------------------------------------------------------


def test_the_librarys_own_words(plan: Artifact) -> None:
    """The real library, with a plan whose bytes it does not know: one line, nothing printed."""
    pytest.importorskip("tensorrt_rtx", reason="the rtx extra is not installed")
    library = EngineLibrary(plan)
    assert library.version == plan.manifest.engine["version"]
    with pytest.raises(BackendError) as found:
        library.load(b"no plan at all, but long enough to be looked at by the library" * 10)
    message = str(found.value)
    assert message.startswith(f"TensorRT-RTX does not load {plan.path}: ")
    assert "Error Code" in message
    assert (
        f"build it again here with vm-export --engine (this is TensorRT-RTX {library.version})"
        in (message)
    )
    assert "\n" not in message
    assert library.reason() == "it does not say why"


def test_the_library_refuses_a_good_plan_where_there_is_no_driver(
    plan: Artifact, capfd: pytest.CaptureFixture[str]
) -> None:
    """That is why the driver is asked first: this text helps nobody."""
    if probe().devices:
        pytest.skip("there is a GPU here")
    with pytest.raises(BackendError, match=r"does not load .*CUDA driver"):
        EngineLibrary(plan).load(plan.model)
    assert capfd.readouterr() == ("", "")


def test_libraries_that_are_not_installed(plan: Artifact) -> None:
    import importlib.util

    if importlib.util.find_spec("tensorrt") or importlib.util.find_spec("tensorrt_lean"):
        pytest.skip("TensorRT is installed")
    for compatible in (False, True):
        other = with_engine(plan, target="tensorrt", version_compatible=compatible)
        with pytest.raises(BackendUnavailableError, match=r"TensorRT is not.*deploy\[gpu\]"):
            EngineLibrary(other)


def test_a_plugin_that_is_not_there(
    plan: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="the rtx extra is not installed")
    monkeypatch.setenv("VM_TENSORRT_PLUGIN", str(tmp_path / "libplugin.so"))
    library = EngineLibrary(with_engine(plan, warp="plugin"))
    with pytest.raises(BackendUnavailableError, match=r"libplugin\.so.*--warp native or gather"):
        library.load(plan.model)


def test_the_two_classes() -> None:
    assert (TensorRTBackend.name, TensorRTBackend.target) == ("tensorrt", "tensorrt")
    assert (TensorRTRTXBackend.name, TensorRTRTXBackend.target) == ("tensorrt-rtx", "rtx")


# On a GPU ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def here(tiny_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A plan for this machine's GPU."""
    rtx = pytest.importorskip("tensorrt_rtx", reason="the rtx extra is not installed")
    found = probe()
    if not found.devices:
        pytest.skip(found.reason)
    major, minor = found.devices[0].compute_capability
    if f"SM{major}{minor}" not in rtx.ComputeCapability.__members__:
        pytest.skip(f"TensorRT-RTX does not build for compute capability {major}.{minor}")
    path = tmp_path_factory.mktemp("here") / "model.plan"
    onnx = Artifact.read(tiny_artifact)
    path.write_bytes(
        plan_of(onnx, capability=f"SM{major}{minor}", compute_capability=[10 * major + minor])
    )
    return Artifact.read(path)


def feeds() -> dict[str, np.ndarray]:
    return {
        name: textured(MODEL_SHAPE, seed, 1.0)[None, None].astype(np.float32)
        for seed, name in enumerate(("moving", "fixed"))
    }


@pytest.mark.gpu
def test_against_onnxruntime(here: Artifact, tiny_artifact: Path) -> None:
    names = ["displacement", "inverse_displacement"]
    reference = open_backend(Artifact.read(tiny_artifact), "onnxruntime", "cpu")
    expected = reference.run(feeds(), names)
    backend = open_backend(here)
    assert isinstance(backend, DeviceBackend)
    for _ in range(3):
        found = backend.run(feeds(), names)
        for name in names:
            assert np.abs(found[name] - expected[name]).max() < ENGINE_ERROR
    assert set(backend.run(feeds(), names[:1])) == {"displacement"}
    backend.close()
    backend.close()
    with pytest.raises(BackendError, match="is closed"):
        backend.run(feeds(), names)


@pytest.mark.gpu
def test_several_threads_and_two_engines(here: Artifact) -> None:
    backends = [open_backend(here) for _ in range(2)]
    expected = backends[0].run(feeds(), ["displacement"])["displacement"]

    def run(number: int) -> np.ndarray:
        return backends[number % 2].run(feeds(), ["displacement"])["displacement"]

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(run, range(16)):
            np.testing.assert_array_equal(found, expected)
    for backend in backends:
        backend.close()


@pytest.mark.gpu
def test_another_grid(here: Artifact) -> None:
    backend = open_backend(here)
    small = {name: array[..., :16] for name, array in feeds().items()}
    with pytest.raises(BackendError, match=r"does not take a grid of 16 x 32 x 16 voxels"):
        backend.run(small, ["displacement"])
    backend.close()
