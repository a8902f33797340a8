"""Commands that are given a plan: without a GPU one line, with one a registration."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from command_line import one_error_line, outside, snapshot
from tiny_plans import engine_of
from vmruntime import Artifact
from vmruntime.cli.inspect import main as vm_inspect
from vmruntime.cuda.probe import probe

Run = Callable[..., Result]

NO_GPU = probe().reason
without_gpu = pytest.mark.skipif(not NO_GPU, reason="there is a GPU here")


@pytest.fixture
def plan(tiny_plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plan with its ONNX model in a folder of its own, and no records of earlier runs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "models"
    shutil.copytree(tiny_plan.parent, folder)
    return folder / "model.plan"


def inspected(*arguments: object) -> Result:
    return CliRunner().invoke(vm_inspect, [str(argument) for argument in arguments])


# vm-infer ----------------------------------------------------------------------------------------


@without_gpu
def test_infer_says_what_is_needed_before_it_reads_or_writes(plan: Path, tmp_path: Path) -> None:
    """Issue 4, 1: one line, in a process of its own; the scans are not even there."""
    before = snapshot(tmp_path)
    result = outside(
        "infer", plan, "--moving", tmp_path / "absent.nii", "--fixed", tmp_path / "absent2.nii",
        "--moved", tmp_path / "moved.nii.gz", "--report", tmp_path / "qc.json",
    )  # fmt: skip
    line = one_error_line(result.returncode, result.stderr)
    assert line == (
        f"Error: {plan}: a plan needs an NVIDIA GPU ({NO_GPU}); model.onnx, which it was built "
        "from, runs on this machine"
    )
    assert result.stdout == ""
    assert snapshot(tmp_path) == before


@without_gpu
def test_and_model_onnx_does_run_on_this_machine(infer: Run, plan: Path, tmp_path: Path) -> None:
    result = infer(model=plan.with_suffix(".onnx"), moved=tmp_path / "moved.nii")
    assert result.exit_code == 0, result.stderr


@without_gpu
@pytest.mark.parametrize(
    ("options", "fact"),
    [
        (["--device", "cuda"], "a plan needs an NVIDIA GPU ("),
        (["--device", "cpu"], "a plan needs an NVIDIA GPU, not the CPU"),
        (["--backend", "tensorrt-rtx"], "a plan needs an NVIDIA GPU ("),
        (["--backend", "tensorrt"], "was built for TensorRT-RTX, not for TensorRT"),
        (["--backend", "onnxruntime"], "onnxruntime runs ONNX models"),
        (["--precision", "fp16"], "was built in fp32, not fp16"),
    ],
)
def test_options_do_not_change_that(
    refused: Callable[..., str], plan: Path, options: list[str], fact: str
) -> None:
    line = refused(*options, model=plan)
    assert fact in line
    assert str(plan) in line


@without_gpu
def test_a_gpu_for_the_onnx_model(refused: Callable[..., str]) -> None:
    assert refused("--device", "cuda") == f"Error: {NO_GPU}"
    assert "TensorRT runs plans" in refused("--backend", "tensorrt")


@pytest.mark.parametrize("kept", [0, 3, 4, 30, 1500, -1])
def test_damaged_plans(refused: Callable[..., str], plan: Path, kept: int) -> None:
    cut = plan.with_name("cut.plan")
    cut.write_bytes(plan.read_bytes()[:kept])
    line = refused(model=cut)
    assert line.startswith(f"Error: {cut}: ")


# vm-inspect --------------------------------------------------------------------------------------


def test_inspect_gives_the_onnx_manifest_and_the_engine(plan: Path) -> None:
    """Issue 4, 2: exactly."""
    onnx = plan.with_suffix(".onnx")
    results = [inspected(path, "--json") for path in (onnx, plan)]
    for result in results:
        assert (result.exit_code, result.stderr) == (0, "")
    of_onnx, of_plan = (json.loads(result.stdout) for result in results)
    assert (of_onnx["kind"], of_plan["kind"]) == ("onnx", "plan")
    assert of_plan["manifest"].pop("engine") == engine_of(Artifact.read(onnx))
    assert of_plan["manifest"] == of_onnx["manifest"]
    assert list(of_plan["manifest"]) == list(of_onnx["manifest"])
    for part in ("inputs", "outputs"):
        assert of_plan[part] == of_onnx[part]
    assert of_plan["verified"] is False
    assert of_plan["bytes"] == plan.stat().st_size


def test_inspect_in_words(plan: Path) -> None:
    result = inspected(plan)
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    for expected in (
        "kind plan",
        "displacement float 1 x 3 x 16 x 32 x 48",
        "target rtx",
        "warp native",
        "compute_capability 86",
        "verified False",
    ):
        assert expected in lines


@without_gpu
def test_inspect_verify_needs_a_gpu(plan: Path) -> None:
    result = inspected(plan, "--verify")
    line = one_error_line(result.exit_code, result.stderr)
    assert f"a plan needs an NVIDIA GPU ({NO_GPU})" in line
    assert result.stdout == ""
    assert json.loads(inspected(plan, "--json").stdout)["verified"] is False


def test_inspect_verify_of_an_onnx_model(plan: Path) -> None:
    result = inspected(plan.with_suffix(".onnx"), "--verify", "--json", "--threads", "1")
    assert (result.exit_code, result.stderr) == (0, "")
    checked = json.loads(result.stdout)["checked"]
    assert checked["engine"].startswith("onnxruntime ")
    assert checked["warp_error"] < 1e-5


def test_inspect_usage(plan: Path) -> None:
    result = inspected(plan, "--onnx", plan.with_suffix(".onnx"))
    assert result.exit_code == 2
    assert "--onnx is for --verify" in result.stderr


# On a GPU ----------------------------------------------------------------------------------------


@pytest.mark.gpu
def test_said_once_until_verified(infer: Run, plan: Path, tmp_path: Path) -> None:
    found = probe()
    if not found.devices:
        pytest.skip(found.reason)
    if found.devices[0].compute_capability != (8, 6):
        pytest.skip("the plan of the tests is for compute capability 8.6")
    runs = [infer(model=plan, moved=tmp_path / f"{number}.nii") for number in range(2)]
    assert [run.exit_code for run in runs] == [0, 0]
    assert [run.stderr.count("unverified-plan") for run in runs] == [1, 0]
    assert all(", unverified, " in run.stdout for run in runs)
    assert inspected(plan, "--verify").exit_code == 0
    last = infer(model=plan, moved=tmp_path / "last.nii")
    assert "unverified" not in last.stdout + last.stderr
