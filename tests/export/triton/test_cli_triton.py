"""``vm-export --triton`` as it is typed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from command_line import snapshot
from kserve_server import read_config
from vmexport.cli.export import main
from vmruntime import Artifact

NAMES = ["voxelmorph", "voxelmorph/1", "voxelmorph/1/model.onnx", "voxelmorph/config.pbtxt"]


def _run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert "Traceback" not in result.output
    return result


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def checkpoint() -> Path:
    """The demo model's checkpoint."""
    return Path(__file__).resolve().parents[3] / "examples" / "demo_model.pt"


def test_a_checkpoint_to_a_repository(checkpoint: Path, tmp_path: Path) -> None:
    result = _run(checkpoint, "--triton", tmp_path / "models", "--shape", "16,16,32")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert f"{tmp_path}/models/voxelmorph  onnxruntime_onnx, on the GPU" in result.stdout
    assert "displacement error: mean" in result.stdout
    assert _names(tmp_path / "models") == NAMES
    served = Artifact.read(tmp_path / "models/voxelmorph/1/model.onnx")
    config = read_config(tmp_path / "models/voxelmorph/config.pbtxt")
    assert config.parameters["vxm.manifest"].string_value == served.manifest.to_json()
    assert served.manifest.verification["displacement"]["max"] > 0


def test_an_artifact_to_a_repository(models: dict[str, Path], tmp_path: Path) -> None:
    options = ["--triton", tmp_path, "--triton-name", "brain", "--triton-device", "cpu"]
    result = _run(models["half"], *options)
    assert result.exit_code == 0, result.output
    assert "onnxruntime_onnx, on the CPU" in result.stdout
    assert (tmp_path / "brain/1/model.onnx").read_bytes() == models["half"].read_bytes()
    before = snapshot(tmp_path)
    result = _run(models["plain"], *options)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {tmp_path}/brain: exists already")
    assert snapshot(tmp_path) == before
    assert _run(models["plain"], *options, "--force").exit_code == 0
    assert (tmp_path / "brain/1/model.onnx").read_bytes() == models["plain"].read_bytes()


def test_with_o_both_are_kept(models: dict[str, Path], tmp_path: Path) -> None:
    result = _run(
        models["plain"], "-o", tmp_path / "m.onnx", "--triton", tmp_path / "models",
        "--precision", "fp16", "--max-error", "0.2",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    served = tmp_path / "models/voxelmorph/1/model.onnx"
    assert served.read_bytes() == (tmp_path / "m.onnx").read_bytes()
    assert Artifact.read(served).manifest.precision == "fp16"


def test_a_plan_to_a_repository(plans: dict[str, Path], tmp_path: Path) -> None:
    result = _run(plans["tensorrt"], "--triton", tmp_path / "models")
    assert result.exit_code == 0, result.output
    assert "tensorrt_plan, on the GPU" in result.stdout
    assert "needs a server with TensorRT 10.13.0.35" in result.stdout
    served = tmp_path / "models/voxelmorph/1/model.plan"
    assert served.read_bytes() == plans["tensorrt"].read_bytes()
    assert read_config(tmp_path / "models/voxelmorph/config.pbtxt").platform == "tensorrt_plan"


def test_an_engine_of_rtx_is_refused_before_it_is_built(
    models: dict[str, Path], plans: dict[str, Path], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    for target in (["--target", "rtx"], []):  # asked for, or the one that is installed
        result = _run(
            models["half"], "--engine", tmp_path / "m.plan", "--triton", tmp_path / "models",
            *target,
        )  # fmt: skip
        assert result.exit_code == 1
        assert "Triton runs no plans of TensorRT-RTX" in result.stderr
        assert result.stderr.count("\n") == 1
    result = _run(plans["rtx"], "--triton", tmp_path / "models")
    assert result.exit_code == 1
    assert "is a plan of TensorRT-RTX" in result.stderr
    assert _names(tmp_path) == []


@pytest.mark.parametrize(
    ("source", "arguments", "message"),
    [
        ("half", ["-o", "m.onnx", "--triton-name", "m"], "--triton-name is for Triton"),
        ("half", ["-o", "m.onnx", "--triton-device", "cpu"], "--triton-device is for Triton"),
        ("half", ["--triton", "r", "--warp", "gather"], "--warp is for an engine"),
        ("half", ["--triton", "r", "--triton-device", "tpu"], "tpu"),
        ("half", ["--triton", "r", "--engine", "m.plan", "--triton-device", "cpu"], "GPUs only"),
        ("tensorrt", [], "can be given to --triton DIR"),
        ("tensorrt", ["-o", "m.onnx"], "can be given to --triton DIR"),
        ("tensorrt", ["--triton", "r", "--precision", "fp16"], "--precision is too late"),
        ("tensorrt", ["--triton", "r", "--engine", "n.plan"], "--engine is too late"),
    ],
)
def test_wrong_usage(
    models, plans, source: str, arguments, message: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = _run({**models, **plans}[source], *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert _names(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--triton", "missing/models"], "does not exist; create it first"),
        (["--triton", "models", "--triton-name", "../m"], "no name for a model"),
        (["--triton", "models", "--precision", "fp16", "--max-error", "1e-9"], "differs from"),
        (["--triton", "models", "--precision", "fp16", "-o", "no/m.onnx"], "does not exist"),
    ],
)
def test_a_failure_is_one_line_and_leaves_nothing(
    models, arguments, message: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = _run(models["plain"], *arguments)
    assert result.exit_code == 1, result.output
    assert message in result.stderr
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert _names(tmp_path) == []


def test_sources_that_are_no_plan(tmp_path: Path) -> None:
    for name, content in (
        ("garbage.plan", b"garbage" * 99),
        ("empty.plan", b""),
        ("no.plan", None),
    ):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        result = _run(path, "--triton", tmp_path / "models")
        assert result.exit_code == 1
        assert result.stderr.startswith(f"Error: {path}: ")
        assert result.stderr.count("\n") == 1
        assert not (tmp_path / "models").exists()
