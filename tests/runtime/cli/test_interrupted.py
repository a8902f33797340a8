"""Full disks and signals: whole files or none."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line import command, environment, one_error_line, outside, snapshot

SMALL_DISK = 192 << 10
"""Bytes; the moved scan fits (it packs to 60 kB or so), the warp as well does not."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system that is soon full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"cannot mount a small disk ({error})")
    if done.returncode:
        pytest.skip(f"cannot mount a small disk ({done.stderr.strip()}); root may")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_full_disk(
    small_disk: Path, pair: dict[str, Path], tiny_artifact: Path, suffix: str
) -> None:
    (small_disk / f"warp{suffix}").write_text("old")
    done = outside(
        "infer", tiny_artifact, "--moving", pair["moving"], "--fixed", pair["fixed"], "--force",
        "--moved", small_disk / f"moved{suffix}", "--warp", small_disk / f"warp{suffix}",
    )  # fmt: skip
    line = one_error_line(done.returncode, done.stderr)
    assert "cannot be written (No space left on device); nothing was kept" in line
    assert str(small_disk) in line
    assert done.stdout == ""
    assert [path.name for path in small_disk.iterdir()] == [f"warp{suffix}"]
    assert (small_disk / f"warp{suffix}").read_text() == "old"


def test_a_disk_that_is_full_at_once(
    small_disk: Path, pair: dict[str, Path], tiny_artifact: Path
) -> None:
    with (
        open(small_disk / "ballast", "wb", buffering=0) as ballast,
        contextlib.suppress(OSError),
    ):
        while True:
            ballast.write(bytes(4096))
    done = outside(
        "infer", tiny_artifact, "--moving", pair["moving"], "--fixed", pair["fixed"],
        "--report", small_disk / "qc.json",
    )  # fmt: skip
    assert "No space left on device" in one_error_line(done.returncode, done.stderr)
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]


def test_a_file_size_limit(tmp_path: Path, pair: dict[str, Path], tiny_artifact: Path) -> None:
    """The same without root: a limit on the size of files."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "from vmruntime.cli.infer import main; main(prog_name='vm-infer')"
    )
    arguments = [
        tiny_artifact, "--moving", pair["moving"], "--fixed", pair["fixed"],
        "--moved", tmp_path / "moved.nii", "--warp", tmp_path / "warp.nii",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True, text=True, env=environment(), timeout=120, check=False,
    )  # fmt: skip
    line = one_error_line(done.returncode, done.stderr)
    assert "cannot be written (File too large)" in line
    assert snapshot(tmp_path) == {}


STALL = """
import sys, time
import vmruntime.{module} as module
said = []
def stall(*_, **__):
    # Several files are read at once.
    if not said:
        said.append("stalled")
        print("stalled", flush=True)
    time.sleep(60)
module.{function} = stall
from vmruntime.cli.infer import main
main(prog_name="vm-infer")
"""


def stalled(place: str, folder: Path, model: Path, pair: dict[str, Path]) -> subprocess.Popen[str]:
    """vm-infer that hangs in the middle of its work, with temporary files on the disk."""
    module, function = {
        "reading": ("registrar", "read_scan"),
        "writing": ("io.itk", "write_warp"),
    }[place]
    process = subprocess.Popen(
        [
            sys.executable, "-c", STALL.format(module=module, function=function), str(model),
            "--moving", str(pair["moving"]), "--fixed", str(pair["fixed"]), "--force",
            "--moved", str(folder / "moved.nii.gz"), "--warp", str(folder / "warp.nii.gz"),
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "stalled\n"
    return process


@pytest.mark.parametrize("place", ["reading", "writing"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_nothing(
    tmp_path: Path, pair: dict[str, Path], tiny_artifact: Path, number: signal.Signals, place: str
) -> None:
    (tmp_path / "warp.nii.gz").write_text("old")
    process = stalled(place, tmp_path, tiny_artifact, pair)
    hidden = [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert len(hidden) == 2
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == (143 if number == signal.SIGTERM else 1)
    assert "Traceback" not in stderr
    assert stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["warp.nii.gz"]
    assert (tmp_path / "warp.nii.gz").read_text() == "old"


def test_being_killed_leaves_no_result(
    tmp_path: Path, pair: dict[str, Path], tiny_artifact: Path
) -> None:
    process = stalled("writing", tmp_path, tiny_artifact, pair)
    process.kill()
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    left = [path.name for path in tmp_path.iterdir()]
    assert all(name.startswith(".") for name in left)


@pytest.mark.parametrize("delay", [0.3, 0.7, 1.1])
def test_a_signal_at_any_time(
    tmp_path: Path, pair: dict[str, Path], tiny_artifact: Path, delay: float
) -> None:
    """Whenever it comes: all files or none, and no temporary one."""
    process = subprocess.Popen(
        command(
            "infer", tiny_artifact, "--moving", pair["moving"], "--fixed", pair["fixed"],
            "--moved", tmp_path / "moved.nii.gz", "--warp", tmp_path / "warp.nii.gz",
        ),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(),
    )  # fmt: skip
    time.sleep(delay)
    process.terminate()
    process.wait(timeout=30)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names in ([], ["moved.nii.gz", "warp.nii.gz"])
    if process.returncode == 0:
        assert names


def test_outputs_are_not_readable_before_they_are_whole(
    tmp_path: Path, pair: dict[str, Path], tiny_artifact: Path
) -> None:
    process = stalled("writing", tmp_path, tiny_artifact, pair)
    try:
        assert not (tmp_path / "moved.nii.gz").exists()
        assert all(name.startswith(".") for name in [path.name for path in tmp_path.iterdir()])
    finally:
        process.terminate()
        process.communicate(timeout=30)
