"""vm-batch from end to end, in processes of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cohort_files import Cohort, hidden, rows_of, write_table
from command_line import outside, snapshot

Run = Callable[..., subprocess.CompletedProcess[str]]

SMALL_DISK = 96 << 10
"""Bytes; less than one moved scan and its warp."""


def test_the_same_files_as_vm_infer_one_by_one(
    vm_batch: Run, cohort: Cohort, tiny_artifact: Path, tmp_path: Path
) -> None:
    """By two workers of one thread each, against one process with two threads."""
    table = cohort.table(tmp_path / "pairs.csv", 6)
    done = vm_batch("--pairs", table, "--workers", 2, "--write", "moved,labels,warp,affine,report")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines()[0].startswith("6 pairs: 6 registered; ")
    out = tmp_path / "out"
    rows = rows_of(out / "results.tsv")
    assert [row["id"] for row in rows] == [f"p{n:02}" for n in range(6)]
    assert {row["status"] for row in rows} == {"done"}
    assert {row["worker"].rpartition("/")[2] for row in rows} <= {"0", "1"}
    alone = tmp_path / "alone"
    for number, row in enumerate(rows):
        (alone / row["id"]).mkdir(parents=True)
        prefix = f"{alone / row['id'] / row['id']}_"
        names = {
            "--moved": "space-fixed_desc-moved_T1w.nii.gz",
            "--moved-seg": "space-fixed_dseg.nii.gz",
            "--warp": "from-moving_to-fixed_mode-image_xfm.nii.gz",
            "--affine-out": "from-moving_to-fixed_mode-image_desc-affine_xfm.txt",
            "--report": "desc-registration_qc.json",
        }
        options = [value for option, name in names.items() for value in (option, prefix + name)]
        one = outside(
            "infer", tiny_artifact, "--moving", row["moving"], "--fixed", row["fixed"],
            "--moving-seg", cohort.labels[number % 2], "--threads", 2,
            "--fixed-seg", cohort.labels[2 + number % 4], *options,
        )  # fmt: skip
        assert one.returncode == 0, one.stderr
        for path in (alone / row["id"]).iterdir():
            other = out / path.relative_to(alone)
            if path.suffix == ".json":
                reports = [json.loads(p.read_text()) for p in (path, other)]
                for report in reports:
                    # Only vm-infer measures this, and times differ anyway.
                    for when in ("before", "after"):
                        del report["similarity"][when]["local_ncc"]
                    del report["wall"], report["seconds"], report["engine"]["threads"]
                assert reports[0] == reports[1]
                assert float(row["dice_after"]) == pytest.approx(
                    reports[0]["dice"]["after"]["mean"], rel=1e-5
                )
            else:
                assert path.read_bytes() == other.read_bytes(), path.name
    volumes = rows_of(out / "volumes.tsv")
    assert [row["source"] for row in volumes] == [f"p{n:02}" for n in range(6)]
    assert set(volumes[0]) == {"subject", "source", "2", "41", "77"}
    assert json.loads((out / "dataset_description.json").read_text())["DatasetType"] == "derivative"

    # The same command again does nothing; what was lost or changed is done again, nothing else.
    before = snapshot(out)
    again = vm_batch("--pairs", table, "--write", "moved,labels,warp,affine,report")
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[0] == "6 pairs: 0 registered, 6 done before"
    after = snapshot(out)
    tables = {"results.tsv", "volumes.tsv", ".vm-batch/lock"}
    assert {k: v for k, v in after.items() if k not in tables} == {
        k: v for k, v in before.items() if k not in tables
    }
    assert rows_of(out / "results.tsv") == rows
    (out / "p03" / "p03_space-fixed_dseg.nii.gz").unlink()
    shutil.rmtree(out / "p05")
    dry = vm_batch("--pairs", table, "--write", "moved,labels,warp,affine,report", "--dry-run")
    assert dry.stdout.startswith("6 pairs, 4 done already, 2 to do:\np03\t")
    once_more = vm_batch("--pairs", table, "--write", "report,moved,labels,warp,affine")
    assert once_more.stdout.startswith("6 pairs: 2 registered, 4 done before; ")
    assert snapshot(out).keys() == before.keys()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system that is soon full, as the folder of pair p07."""
    folder = tmp_path / "out" / "p07"
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"cannot mount a small disk ({error})")
    if done.returncode:
        pytest.skip(f"cannot mount a small disk ({done.stderr.strip()}); root may")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_three_of_ten_fail_and_seven_are_done(
    vm_batch: Run, cohort: Cohort, small_disk: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.nii.gz"
    damaged.write_bytes(cohort.scans[3].read_bytes()[:20_000])
    rows: list[list[object]] = [
        [cohort.scans[0], cohort.scans[1 + number % 5], f"p{number:02}"] for number in range(10)
    ]
    rows[2][1], rows[5][0] = damaged, tmp_path / "none.nii.gz"
    table = write_table(tmp_path / "pairs.csv", rows)
    done = vm_batch("--pairs", table, "--workers", 2, "--retries", 1, "--report")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    named = sorted(line for line in lines if line.startswith("Failed: "))
    assert len(named) == 3
    assert named[0].startswith(f"Failed: p02: {damaged}")
    assert named[1] == f"Failed: p05: {tmp_path}/none.nii.gz: no such file"
    assert named[2].startswith(f"Failed: p07: {small_disk}")
    assert "No space left on device" in named[2]
    (last,) = (line for line in lines if line.startswith("Error: "))
    assert "3 of 10 pairs failed: p02, p05, p07; see" in last
    assert done.stdout.startswith("10 pairs: 7 registered, 3 failed; ")
    rows_found = rows_of(tmp_path / "out" / "results.tsv")
    states = {row["id"]: row["status"] for row in rows_found}
    failed = {"p02", "p05", "p07"}
    assert states == {f"p{n:02}": "failed" if f"p{n:02}" in failed else "done" for n in range(10)}
    assert all((row["error"] == "n/a") == (row["status"] == "done") for row in rows_found)
    assert list(small_disk.iterdir()) == []
    assert hidden(tmp_path / "out") == []
    page = (tmp_path / "out" / "report.html").read_text()
    assert "7 done, 3 failed" in page
    assert page.count('<div class="card">') == page.count('alt="Carried scan of') == 7
    assert "No space left on device" in page
    assert "<script" not in page

    # Mended, the same command does what is left.
    damaged.write_bytes(cohort.scans[3].read_bytes())
    shutil.copyfile(cohort.scans[0], tmp_path / "none.nii.gz")
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    mended = vm_batch("--pairs", table)
    assert mended.returncode == 0, mended.stderr
    assert mended.stdout.startswith("10 pairs: 3 registered, 7 done before; ")


def test_one_at_a_time_in_a_folder(vm_batch: Run, cohort: Cohort, tmp_path: Path) -> None:
    from vmruntime.batch.lock import only_one

    (tmp_path / "out" / ".vm-batch").mkdir(parents=True)
    with only_one(tmp_path / "out" / ".vm-batch"):
        done = vm_batch("--pairs", cohort.table(tmp_path / "pairs.csv", 1))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"Error: {tmp_path}/out: another vm-batch is at work there; wait for it, or choose "
        "another folder"
    ]


def test_a_model_that_cannot_be_loaded_ends_the_batch(
    vm_batch: Run, cohort: Cohort, tmp_path: Path
) -> None:
    """It is said once, not for every pair."""
    table = cohort.table(tmp_path / "pairs.csv", 3)
    done = vm_batch("--pairs", table, "--backend", "onnxruntime", "--precision", "fp16")
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert "fp16" in line
    assert {row["status"] for row in rows_of(tmp_path / "out" / "results.tsv")} == {"pending"}
