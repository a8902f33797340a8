"""Engines of the C library besides OpenVINO: which it has, ONNX Runtime, and plans without a GPU.

ONNX Runtime is built against headers that the machine may have (``ONNXRUNTIME_ROOT``) and runs for
real. What can be said of a plan without TensorRT is tested everywhere.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from c_session import CLibrary, CSession
from installed_library import ROOT, InstalledLibrary, engine_headers, run
from synthetic_scans import MODEL_SHAPE, model_volume
from tiny_plans import plan_of
from vmruntime import Artifact, Grid, Manifest, Registrar, Volume

VOXELS = 1e-4


@pytest.fixture(scope="module")
def onnxruntime(c_engines: InstalledLibrary) -> CLibrary:
    engine_headers("ONNXRUNTIME_ROOT")
    return CLibrary(c_engines.libraries / "libvmruntime.so")


@pytest.fixture(scope="module")
def plain(c_library: InstalledLibrary) -> CLibrary:
    """The library built without any engine's headers."""
    return CLibrary(c_library.libraries / "libvmruntime.so")


@pytest.fixture(scope="module")
def runtime() -> Path:
    """ONNX Runtime's library, in the Python package."""
    package = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    return max(Path(package.__file__).parent.glob("capi/libonnxruntime.so.*"))


def tiny_model(network: Any, manifest: Manifest, kind: str) -> bytes:
    """A model of a "fixed" shape, of any shape ("free"), or in float16 ("half")."""
    from vmexport.graph.build import build_model, with_manifest

    if kind == "free":
        built = build_model(network, (32, 48, 64), dynamic=True, stride=16)
        return with_manifest(built, replace(manifest, shape=None))
    precision = "fp16" if kind == "half" else "fp32"
    built = build_model(network, MODEL_SHAPE, precision=precision)
    return with_manifest(built, replace(manifest, precision=precision))


@pytest.mark.parametrize("engine", ["onnxruntime", "tensorrt"])
def test_a_build_without_headers_says_how_to_get_the_engine(
    plain: CLibrary, tiny_artifact: Path, tmp_path: Path, engine: str
) -> None:
    model = tiny_artifact
    if engine == "tensorrt":
        with pytest.raises(RuntimeError, match="tensorrt runs plans, and this is an ONNX model"):
            CSession(plain, model, None, name=engine)
        model = tmp_path / "model.plan"
        model.write_bytes(plan_of(Artifact.read(tiny_artifact), target="tensorrt"))
    variable = f"-D{engine.upper()}_ROOT=FOLDER"
    with pytest.raises(RuntimeError, match=f'built without engine "{engine}".*{variable}'):
        CSession(plain, model, None, name=engine)


@pytest.mark.parametrize("engine", ["ONNXRUNTIME_ROOT", "TENSORRT_ROOT"])
def test_a_wrong_root_is_named(tmp_path: Path, engine: str) -> None:
    if not shutil.which("cmake"):
        pytest.skip("cmake is not installed")
    command = ["cmake", "-S", ROOT / "runtime", "-B", tmp_path / "build", f"-D{engine}={tmp_path}"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"{engine}='{tmp_path}' has no include/" in " ".join(done.stderr.split())


class TestPlans:
    """Real plans of TensorRT-RTX, which this library reads and does not run."""

    def test_of_rtx(self, plain: CLibrary, tiny_plan: Path) -> None:
        with pytest.raises(RuntimeError, match=r"built for TensorRT-RTX.*use its model\.onnx"):
            CSession(plain, tiny_plan, None)

    @pytest.mark.parametrize("size", [4, 20, 3000, -1])
    def test_cut_off(self, plain: CLibrary, tiny_plan: Path, tmp_path: Path, size: int) -> None:
        path = tmp_path / "model.plan"
        path.write_bytes(tiny_plan.read_bytes()[:size])
        with pytest.raises(RuntimeError, match=r"is a damaged plan: \d+ bytes instead of \d+"):
            CSession(plain, path, None)

    def test_without_a_manifest(self, plain: CLibrary, tiny_plan: Path, tmp_path: Path) -> None:
        path = tmp_path / "model.plan"
        path.write_bytes(tiny_plan.read_bytes().replace(b'{"version":', b'{"Version":'))
        with pytest.raises(RuntimeError, match="is a TensorRT plan without a manifest"):
            CSession(plain, path, None)

    def test_garbage(self, plain: CLibrary, tmp_path: Path) -> None:
        path = tmp_path / "model.plan"
        path.write_bytes(np.random.default_rng(0).bytes(100_000))
        with pytest.raises(RuntimeError, match="not an ONNX model"):
            CSession(plain, path, None)

    @pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
    def test_in_engines_for_models(self, plain: CLibrary, tiny_artifact: Path, tmp_path: Path,
                                   engine: str) -> None:  # fmt: skip
        path = tmp_path / "model.plan"
        path.write_bytes(plan_of(Artifact.read(tiny_artifact), target="tensorrt"))
        with pytest.raises(RuntimeError, match=f"{engine} runs ONNX models, and this is a plan"):
            CSession(plain, path, None, name=engine)


class TestOnnxRuntime:
    """The engine on ONNX Runtime's real library."""

    @pytest.mark.parametrize("kind", ["fixed", "half", "free"])
    def test_gives_what_python_and_openvino_give(
        self,
        onnxruntime: CLibrary,
        c_engines: InstalledLibrary,
        runtime: Path,
        tiny_network: Any,
        manifest: Manifest,
        tmp_path: Path,
        kind: str,
    ) -> None:
        model = tmp_path / "model.onnx"
        model.write_bytes(tiny_model(tiny_network, manifest, kind))
        moving, fixed = model_volume(0), model_volume(1)
        found = []
        for name, engine in (("onnxruntime", runtime), ("openvino", c_engines.openvino)):
            with CSession(onnxruntime, model, engine, name=name, threads=2) as session:
                assert session.describe()["engine"] == name
                assert session.describe()["precision"] == "fp32"
                found.append(session.register(moving, fixed, affine="none"))
        with Registrar.load(model, backend="onnxruntime", threads=1) as registrar:
            expected = registrar.register(moving, fixed, affine="none", inverse=True)
        assert np.abs(expected.displacement.data).max() > 0.1
        # Python's onnxruntime rounds every activation of a half model to float16.
        limit = 0.1 if kind == "half" else VOXELS
        assert np.abs(found[0]["displacement"] - expected.displacement.data).max() < limit
        for name in ("displacement", "offsets"):
            assert np.abs(found[0][name] - found[1][name]).max() < VOXELS
        assert np.abs(found[0]["inverse"] - found[1]["inverse"]).max() < 10 * VOXELS

    def test_says_what_it_is(
        self, onnxruntime: CLibrary, runtime: Path, tiny_artifact: Path
    ) -> None:
        import onnxruntime as package

        with CSession(onnxruntime, tiny_artifact, runtime, name="onnxruntime") as session:
            assert session.describe()["engine_version"] == package.__version__

    def test_is_found_by_itself(
        self, onnxruntime: CLibrary, runtime: Path, tiny_artifact: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setenv("LD_LIBRARY_PATH", str(runtime.parent))
        CSession(onnxruntime, tiny_artifact, None, name="onnxruntime").__exit__()
        monkeypatch.setenv("VM_ONNXRUNTIME_LIBRARY", "/nowhere/libonnxruntime.so")
        with pytest.raises(RuntimeError, match=r"/nowhere/libonnxruntime\.so cannot be loaded"):
            CSession(onnxruntime, tiny_artifact, None, name="onnxruntime")

    def test_can_be_cancelled_while_it_runs(
        self, onnxruntime: CLibrary, runtime: Path, tiny_network: Any, manifest: Manifest,
        tmp_path: Path,
    ) -> None:  # fmt: skip
        """Where it would take a second, between two operators."""
        model = tmp_path / "model.onnx"
        model.write_bytes(tiny_model(tiny_network, manifest, "free"))
        grid = model_volume(0).grid
        large = tuple(160 for _ in range(3))
        values = np.random.default_rng(0).random((2, *large), np.float32) * 255
        moving, fixed = (Volume(data, Grid(large, grid.affine)) for data in values)
        calls: list[int] = []

        def cancel() -> bool:
            calls.append(1)
            return len(calls) >= wanted

        with CSession(onnxruntime, model, runtime, name="onnxruntime") as session:
            wanted = 1_000_000
            session.register(moving, fixed, affine="none", cancel=cancel)
            if len(calls) < 10:  # outside the network it is asked far less often
                pytest.skip("this machine is done before it can be asked")
            calls.clear()
            wanted = 6
            with pytest.raises(RuntimeError, match="cancelled by the caller"):
                session.register(moving, fixed, affine="none", cancel=cancel)
            assert len(calls) == wanted
            session.register(moving, fixed, affine="none")

    def test_refuses_bf16(self, onnxruntime: CLibrary, runtime: Path, tiny_artifact: Path) -> None:
        with pytest.raises(RuntimeError, match="fp32 here, not in bf16; use engine openvino"):
            CSession(onnxruntime, tiny_artifact, runtime, name="onnxruntime", precision="bf16")

    def test_names_both_versions_of_an_old_library(
        self, onnxruntime: CLibrary, tiny_artifact: Path, tmp_path: Path
    ) -> None:
        """One that does not have the headers' functions yet, and one that is another library."""
        source, library = tmp_path / "old.c", tmp_path / "libonnxruntime.so.1.2.0"
        source.write_text(
            "#include <stddef.h>\n"
            "#include <stdint.h>\n"
            "static const void *get_api(uint32_t n) { return n < 3 ? (void *)1 : NULL; }\n"
            'static const char *get_version(void) { return "1.2.0"; }\n'
            "static const struct { const void *(*api)(uint32_t); const char *(*version)(void); }\n"
            "    base = {get_api, get_version};\n"
            "const void *OrtGetApiBase(void) { return &base; }\n"
        )
        run("cc", "-shared", "-fPIC", source, "-o", library)
        with pytest.raises(RuntimeError, match=r"is ONNX Runtime 1\.2\.0, and this .* of 1\.\d+;"):
            CSession(onnxruntime, tiny_artifact, library, name="onnxruntime")
        with pytest.raises(RuntimeError, match="has no function OrtGetApiBase"):
            CSession(onnxruntime, tiny_artifact, Path("libm.so.6"), name="onnxruntime")
