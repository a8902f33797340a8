"""``vm-export --engine`` as it is typed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from checkpoint_files import SMALL, config, save_torch, state
from vmexport.cli.export import main
from vmruntime.artifact import Artifact
from vmruntime.cuda.probe import probe

pytestmark = pytest.mark.usefixtures("rtx")

without_gpu = pytest.mark.skipif(bool(probe().devices), reason="a GPU is present")


def _run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save_torch(tmp_path / "model.pt", state(SMALL), config())


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@without_gpu
def test_a_checkpoint_to_an_engine_and_its_artifact(checkpoint: Path, tmp_path: Path) -> None:
    plan, model = tmp_path / "m.plan", tmp_path / "m.onnx"
    result = _run(
        checkpoint, "--engine", plan, "-o", model, "--target", "rtx", "--precision", "fp16",
        "--compute-capability", "8.6,89,86",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    for text in (
        "displacement error: mean",
        "fp16 engine",
        "with TensorRT-RTX",
        "compute capability 8.6, 8.9",
        "tail",
        "activation",
        "unverified no NVIDIA driver",
        f"vm-inspect {plan} --verify does it on the machine with the GPU, m.onnx beside it",
    ):
        assert text in result.stdout
    assert result.stderr == ""
    assert _names(tmp_path) == ["m.onnx", "m.plan", "model.pt"]
    engine, artifact = Artifact.read(plan).manifest, Artifact.read(model).manifest
    assert engine.engine["verified"] is False
    assert {**engine.to_dict(), "engine": None} == {**artifact.to_dict(), "engine": None}


def test_without_o_the_onnx_is_not_kept(checkpoint: Path, tmp_path: Path) -> None:
    result = _run(checkpoint, "--engine", tmp_path / "m.plan", "--target", "rtx")
    assert result.exit_code == 0, result.output
    assert _names(tmp_path) == ["m.plan", "model.pt"]
    # Verifying it later takes the model that nobody kept.
    assert "build again with -o model.onnx too" in result.stdout
    assert Artifact.read(tmp_path / "m.plan").manifest.engine["precision"] == "fp32"


def test_an_artifact_keeps_its_precision_unless_told(artifacts, tmp_path: Path) -> None:
    for name, given, made in (
        ("fp16", [], "fp16"),
        ("fp32", [], "fp32"),
        ("fp32", ["--precision", "fp16", "--max-error", "0.2"], "fp16"),
    ):
        plan, kept = tmp_path / "m.plan", tmp_path / "kept.onnx"
        result = _run(
            artifacts[name].path, "--engine", plan, "-o", kept, "--force", "--target", "rtx", *given
        )
        assert result.exit_code == 0, result.output
        manifest = Artifact.read(plan).manifest
        assert manifest.precision == manifest.engine["precision"] == made
        assert Artifact.read(kept).manifest.precision == made


def test_an_artifact_is_converted_and_verified_against_itself(artifacts, tmp_path: Path) -> None:
    half = tmp_path / "half.onnx"
    result = _run(artifacts["fp32"].path, "-o", half, "--precision", "fp16", "--max-error", "0.2")
    assert result.exit_code == 0, result.output
    assert "against the float32 model on onnxruntime" in result.stdout
    manifest = Artifact.read(half).manifest
    assert manifest.precision == "fp16"
    assert manifest.verification["limits"] == {"max": 0.2, "p99": 0.02}
    assert manifest.verification["displacement"]["max"] > 0
    assert manifest.source == artifacts["fp32"].manifest.source


def test_a_conversion_over_the_limit_writes_nothing(artifacts, tmp_path: Path) -> None:
    arguments = ["--precision", "fp16", "--max-error", "1e-9", "--target", "rtx"]
    result = _run(artifacts["fp32"].path, "--engine", tmp_path / "m.plan", *arguments)
    assert result.exit_code == 1
    assert "differs from the float32 model's" in result.stderr
    assert _names(tmp_path) == []


def test_a_free_grid(artifacts, checkpoint: Path, tmp_path: Path) -> None:
    shapes = ["--min-shape", "8,8,8", "--opt-shape", "16,24,40", "--max-shape", "32,24,40"]
    plan = tmp_path / "m.plan"
    result = _run(artifacts["dynamic"].path, "--engine", plan, "--target", "rtx", *shapes)
    assert result.exit_code == 0, result.output
    engine = Artifact.read(plan).manifest.engine
    assert engine["shapes"] == [[8, 8, 8], [16, 24, 40], [32, 24, 40]]

    result = _run(checkpoint, "--dynamic", "--engine", tmp_path / "d.plan", "--target", "rtx")
    assert result.exit_code == 1
    assert "give --opt-shape" in result.stderr


@pytest.mark.parametrize(
    ("source", "arguments", "message"),
    [
        ("checkpoint", [], "give -o model.onnx, --engine model.plan, or both"),
        ("checkpoint", ["-o", "m.onnx", "--warp", "gather"], "--warp is for an engine"),
        ("checkpoint", ["--engine", "m.plan", "--opt-shape", "16,8,24"], "exported with --dynamic"),
        ("checkpoint", ["--engine", "m.plan", "--compute-capability", "ada"], "86,89,120"),
        ("checkpoint", ["--engine", "m.plan", "--workspace", "0"], "0"),
        ("fp32", ["--engine", "m.plan", "--opt-shape", "16,24,40"], "exported with --dynamic"),
        ("fp32", ["--engine", "m.plan", "--shape", "16,24,40"], "--shape is for a checkpoint"),
        ("fp32", ["--engine", "m.plan", "--intensity", "none"], "--intensity is for a checkpoint"),
        ("fp32", ["-o", "m.onnx"], "exported already: give --precision or --engine"),
    ],
)
def test_wrong_usage(
    artifacts, checkpoint: Path, source: str, arguments, message: str, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = checkpoint if source == "checkpoint" else artifacts[source].path
    result = _run(path, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert _names(tmp_path) == ["model.pt"]


@pytest.mark.parametrize(
    ("source", "arguments", "message"),
    [
        ("fp16", ["--precision", "fp32"], "what was rounded away is gone; export the checkpoint"),
        ("fp16", ["--warp", "plugin"], "it has no plugins"),
        ("fp16", ["--timing-cache", "cache"], "does not do --timing-cache"),
        ("fp16", ["--version-compatible"], "does not do --version-compatible"),
        ("fp16", ["--hardware-compatible"], "name the GPUs with --compute-capability"),
        ("fp16", ["--compute-capability", "90"], "does not build for compute capability 90"),
        ("fp16", ["--workspace", "1e-9"], "raise --workspace"),
        ("dynamic", ["--opt-shape", "16,24,41"], "--opt-shape 16,24,41 does not fit the network"),
        ("dynamic", ["--opt-shape", "16,24,40", "--min-shape", "8,8,9"], "--min-shape 8,8,9 does"),
        ("dynamic", ["--opt-shape", "16,24,40", "--max-shape", "8,8,8"], "not in order"),
        (
            "dynamic",
            ["--opt-shape", "16,24,40", "--max-shape", "16000,16000,16000"],
            "choose another --max-shape",
        ),
        ("checkpoint", ["--engine", "m.trt"], "must end in .plan or .engine"),
    ],
)
def test_a_failure_is_one_line_and_leaves_nothing(
    artifacts, checkpoint: Path, source: str, arguments, message: str, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = checkpoint if source == "checkpoint" else artifacts[source].path
    result = _run(path, "--engine", "m.plan", "--target", "rtx", *arguments)
    assert result.exit_code == 1, result.output
    assert message in result.stderr
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert _names(tmp_path) == ["model.pt"]


def test_a_toolkit_that_is_not_there_names_its_extra(
    artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    arguments = ["--engine", tmp_path / "m.plan", "--target", "tensorrt"]
    result = _run(artifacts["fp32"].path, *arguments)
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: TensorRT is not installed; pip install 'voxelmorph-deploy[gpu]'\n"
    )


def test_an_engine_is_no_source(artifacts, tmp_path: Path) -> None:
    path = tmp_path / "engine.onnx"
    _run(artifacts["fp32"].path, "--engine", tmp_path / "m.plan", "--target", "rtx")
    (tmp_path / "m.plan").rename(path)
    result = _run(path, "--engine", tmp_path / "again.plan", "--target", "rtx")
    assert result.exit_code == 2
    assert "the source is an engine: it can be given to --triton DIR" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_build_leaves_nothing(
    artifacts, tmp_path: Path, number: signal.Signals
) -> None:
    code = "from vmexport.cli.export import main; main(prog_name='vm-export')"
    process = subprocess.Popen(
        [
            sys.executable, "-c", code,
            str(artifacts["fp32"].path), "--engine", str(tmp_path / "m.plan"),
            "--target", "rtx", "--warp", "gather", "-v",
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert process.stderr is not None
    while "building engine" not in (line := process.stderr.readline()):
        assert line, "the build did not begin"
    time.sleep(0.05)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == (143 if number == signal.SIGTERM else 1)
    assert "Traceback" not in stderr
    assert stdout == ""
    assert _names(tmp_path) == []


def test_the_help_is_grouped() -> None:
    text = _run("--help").stdout
    headings = [line for line in text.splitlines() if line.endswith(":") and line[0] != " "]
    assert headings == [
        "Model:",
        "Verification:",
        "Engine (with --engine):",
        "Serving (see docs/serving.md):",
        "General:",
    ]
    assert all(len(line) <= 80 for line in text.splitlines())
