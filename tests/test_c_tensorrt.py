"""The C library's engine ``tensorrt``, built against TensorRT's public headers (``TENSORRT_ROOT``).

It runs on a stand-in for TensorRT and the driver (`fake_tensorrt`); that the real library runs a
plan for it is unverified.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from c_session import CLibrary, CSession
from installed_library import ROOT, InstalledLibrary, engine_headers, run
from tensorrt_sessions import SESSIONS
from tiny_plans import plan_of
from vmruntime import Artifact

TESTS = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def library(c_engines: InstalledLibrary) -> Path:
    engine_headers("TENSORRT_ROOT")
    return c_engines.libraries / "libvmruntime.so"


@pytest.fixture(scope="module")
def fakes(c_engines: InstalledLibrary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the fake driver and the fake TensorRT of the headers' version."""
    include = engine_headers("TENSORRT_ROOT")
    if (include / "include").is_dir():
        include /= "include"
    folder = tmp_path_factory.mktemp("fakes")
    (folder / "stubs.h").write_text(stubs((include / "NvInferImpl.h").read_text()))
    compiler = ["g++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC",
                "-fvisibility=hidden", "-Wno-cast-function-type"]  # fmt: skip
    sources = TESTS / "fake_tensorrt"
    run(
        *compiler, "-Wl,-soname,libcuda.so.1", sources / "fake_driver.cpp", "-o",
        folder / "libcuda.so.1",
    )  # fmt: skip
    toolkit = cuda_include(c_engines.build)
    run(
        *compiler, "-Wno-unused-parameter", "-isystem", include, "-isystem", toolkit, "-I",
        folder, sources / "fake_nvinfer.cpp", folder / "libcuda.so.1", "-o",
        folder / f"libnvinfer.so.{version_of(include).partition('.')[0]}",
    )  # fmt: skip
    return folder


def test_needs_a_gpu(library: Path, tiny_artifact: Path, tmp_path: Path) -> None:
    from vmruntime.cuda.probe import probe

    if probe().devices:
        pytest.skip("a GPU is there")
    path = tmp_path / "model.plan"
    path.write_bytes(plan_of(Artifact.read(tiny_artifact), target="tensorrt"))
    with pytest.raises(RuntimeError, match=r"needs an NVIDIA GPU.*model\.onnx.*runs on this"):
        CSession(CLibrary(library), path, None)


@pytest.mark.parametrize("session", SESSIONS)
def test_on_the_fake(
    library: Path, fakes: Path, tiny_artifact: Path, tmp_path: Path, session: str
) -> None:
    version = version_of(Path(engine_headers("TENSORRT_ROOT")))
    path = tmp_path / "model.plan"
    path.write_bytes(
        plan_of(
            Artifact.read(tiny_artifact),
            target="tensorrt",
            version=f"{version}.7",
            compute_capability=[90],
        )
    )
    (engine,) = fakes.glob("libnvinfer.so.*")
    paths = os.pathsep.join(map(str, (ROOT / "runtime", TESTS)))
    done = subprocess.run(
        [sys.executable, "-W", "error", TESTS / "tensorrt_sessions.py", session, library, path,
         engine],
        env=os.environ | {"LD_LIBRARY_PATH": str(fakes), "PYTHONPATH": paths},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def stubs(header: str) -> str:
    """A class with a body for every function of the classes behind TensorRT's runtime."""
    text = "namespace nvinfer1::apiv {\n"
    for name in ("VRuntime", "VCudaEngine", "VExecutionContext"):
        (body,) = re.findall(rf"class {name} : public VRoot\s*{{(.*?)\n}};", header, re.DOTALL)
        functions = re.findall(r"virtual ([^;]*?)\s*= 0;", body)
        assert len(functions) > 10
        text += f"struct Stub{name} : {name} {{\n"
        text += "".join(f"{function} override {{ std::abort(); }}\n" for function in functions)
        text += "};\n"
    return text + "}\n"


def version_of(root: Path) -> str:
    """Major, minor and patch of TensorRT's headers."""
    folder = root / "include" if (root / "include").is_dir() else root
    text = (folder / "NvInferVersion.h").read_text()
    values = dict(re.findall(r"#define (\w+) (\w+)", text))
    return ".".join(
        str(values.get(values[f"NV_TENSORRT_{part}"], values[f"NV_TENSORRT_{part}"]))
        for part in ("MAJOR", "MINOR", "PATCH")
    )


def cuda_include(build: Path) -> str:
    """The folder of CUDA's headers, which TensorRT's include, as CMake has found it."""
    (line,) = re.findall(r"CUDA_INCLUDE:PATH=(.+)", (build / "CMakeCache.txt").read_text())
    return str(line)
