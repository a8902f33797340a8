"""Options of vm-batch that make no sense, and input that is not there: nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cohort_files import Cohort
from command_line import one_error_line
from vmruntime.cli.batch import main

Run = Callable[..., Result]


@pytest.fixture
def batch(tiny_artifact: Path, tmp_path: Path) -> Run:
    def run(*options: object, model: Path = tiny_artifact) -> Result:
        arguments = [model, "-o", tmp_path / "out", *options]
        return CliRunner().invoke(main, list(map(str, arguments)))

    return run


ATLAS = "a.nii:b.nii"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "give either --pairs, or --atlas and --subjects"),
        (["--pairs", "p.csv", "--atlas", ATLAS], "give either --pairs, or --atlas"),
        (["--atlas", ATLAS], "--atlas needs --subjects"),
        (["--pairs", "p.csv", "--subjects", "*.nii"], "--subjects needs --atlas"),
        (["--atlas", ATLAS, "--subjects", "x", "--fuse", "majority"], "two or more --atlas"),
        (["--pairs", "p.csv", "--fuse", "majority"], "two or more --atlas"),
        (["--atlas", ATLAS, "--atlas", ATLAS, "--subjects", "x", "--fuse", "majority",
          "--write", "moved"], "add labels to --write"),
        (["--atlas", ATLAS, "--atlas", ATLAS, "--subjects", "x", "--fuse", "local-ncc",
          "--write", "labels"], "add moved to --write"),
        (["--pairs", "p.csv", "--scheduler", "tcp://x:1", "--slurm", "s"], "one of --scheduler"),
        (["--pairs", "p.csv", "--scheduler", "tcp://x:1", "--workers", "2"], "run already"),
        (["--pairs", "p.csv", "--slurm", "s", "--gpus", "0"], "CUDA_VISIBLE_DEVICES"),
        (["--pairs", "p.csv", "--gpus", "0", "--device", "cpu"], "exclude each other"),
        (["--pairs", "p.csv", "--gpus", "0,x"], "numbers of GPUs"),
        (["--pairs", "p.csv", "--gpus", ""], "numbers of GPUs"),
        (["--pairs", "p.csv", "--workers", "0"], "--workers"),
        (["--pairs", "p.csv", "--retries", "-1"], "--retries"),
        (["--pairs", "p.csv", "--write", "moved,warps"], "'warps' is not one of"),
        (["--pairs", "p.csv", "--write", ""], "'' is not one of"),
        (["--pairs", "p.csv", "--fuse", "best"], "--fuse"),
        (["--pairs", "p.csv", "--intensity", "bright"], "--intensity"),
    ],
)  # fmt: skip
def test_wrong_usage(batch: Run, tmp_path: Path, options: list[str], says: str) -> None:
    result = batch(*options)
    assert result.exit_code == 2
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--pairs", "{here}/none.csv"], "no such file"),
        (["--pairs", "{here}/empty.csv"], "has no pairs"),
        (["--atlas", "only", "--subjects", "{here}/*"], "give a scan and its labels"),
        (["--atlas", ATLAS, "--subjects", "{here}/*.nii"], "no file matches"),
        (["--atlas", ATLAS, "--subjects", "{here}"], "holds no sub-"),
        (["--pairs", "{here}/good.csv", "--slurm", "{here}/none.yaml"], "no such file"),
        (["--pairs", "{here}/good.csv", "--reference", "{here}/none.nii"], "no such file"),
        (["--pairs", "{here}/good.csv", "--affine", "{here}/none.txt"], "no such file"),
    ],
)
def test_wrong_input(batch: Run, tmp_path: Path, options: list[str], says: str) -> None:
    (tmp_path / "empty.csv").write_text("moving,fixed\n")
    (tmp_path / "good.csv").write_text("moving,fixed\na.nii,b.nii\n")
    result = batch(*(option.replace("{here}", str(tmp_path)) for option in options))
    assert says in one_error_line(result.exit_code, result.stderr)
    assert result.stdout == ""
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_none(batch: Run, tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text("moving,fixed\na.nii,b.nii\n")
    result = batch("--pairs", tmp_path / "good.csv", model=tmp_path / "none.onnx")
    assert "make one with vm-export" in one_error_line(result.exit_code, result.stderr)
    result = batch("--pairs", tmp_path / "good.csv", model=tmp_path / "good.csv")
    assert "good.csv" in one_error_line(result.exit_code, result.stderr)


def test_a_folder_that_cannot_be_made(batch: Run, cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    result = batch("--pairs", cohort.table(tmp_path / "p.csv", 1))
    assert str(tmp_path / "out") in one_error_line(result.exit_code, result.stderr)
    assert (tmp_path / "out").read_text() == "a file"


def test_without_dask_the_extra_is_named(
    batch: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)
    (tmp_path / "good.csv").write_text("moving,fixed\na.nii,b.nii\n")
    result = batch("--pairs", tmp_path / "good.csv")
    line = one_error_line(result.exit_code, result.stderr)
    assert line == "Error: vm-batch needs distributed; pip install 'voxelmorph-deploy[batch]'"


def test_what_would_be_done(batch: Run, tmp_path: Path) -> None:
    for name in ("a.nii", "b.nii", "s1.nii.gz", "s2.nii.gz"):
        (tmp_path / name).touch()
    result = batch(
        "--atlas", f"{tmp_path}/a.nii:{tmp_path}/b.nii", "--subjects", f"{tmp_path}/s*.nii.gz",
        "--dry-run",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [
        "2 pairs, 0 done already, 2 to do:",
        f"s1_atlas-a\t{tmp_path}/a.nii\t{tmp_path}/s1.nii.gz",
        f"s2_atlas-a\t{tmp_path}/a.nii\t{tmp_path}/s2.nii.gz",
    ]
    assert not (tmp_path / "out").exists()
