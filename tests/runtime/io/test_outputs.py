"""Output files: whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from vmruntime import OutputError
from vmruntime.io.outputs import Outputs


def write(*paths: Path, force: bool = False, error: BaseException | None = None) -> None:
    """Write "new" to each, then fail with `error`."""
    with Outputs(force=force) as outputs:
        for path in paths:
            outputs.image(path).write_text("new")
        if error:
            raise error


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_get_their_names_together(tmp_path: Path) -> None:
    with Outputs() as outputs:
        image, report = outputs.image(tmp_path / "a.nii.gz"), outputs.file(tmp_path / "b.json")
        image.write_text("image")
        assert image.parent == tmp_path
        assert image.name.startswith(".")
        assert image.name.endswith(".nii.gz")  # nibabel chooses the format by it
        assert not (tmp_path / "a.nii.gz").exists()
        report.write_text("report")
    assert names(tmp_path) == ["a.nii.gz", "b.json"]
    assert (tmp_path / "a.nii.gz").read_text() == "image"


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt(), SystemExit()])
def test_an_exception_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "a.nii").write_text("old")
    with pytest.raises(type(error)):
        write(tmp_path / "a.nii", tmp_path / "b.nii", force=True, error=error)
    assert names(tmp_path) == ["a.nii"]
    assert (tmp_path / "a.nii").read_text() == "old"


def test_a_refused_name_removes_those_before_it(tmp_path: Path) -> None:
    (tmp_path / "b.nii").write_text("old")
    with pytest.raises(OutputError, match=r"b.nii: exists already.*--force"):
        write(tmp_path / "a.nii", tmp_path / "b.nii")
    assert names(tmp_path) == ["b.nii"]


def test_force_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    path.write_text("old")
    before = path.stat().st_ino
    with Outputs(force=True) as outputs:
        outputs.image(path).write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert path.stat().st_ino != before  # who has the old file open keeps it


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o000])
def test_permissions_are_those_of_any_new_file(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        with Outputs() as outputs:
            outputs.image(tmp_path / "a.nii").write_text("new")
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.nii").stat().st_mode) == 0o666 & ~mask


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    target, link = tmp_path / "store" / "a.nii", tmp_path / "a.nii"
    link.symlink_to(target)
    with Outputs() as outputs:  # a link to nothing yet
        temporary = outputs.image(link)
        temporary.write_text("new")
        assert temporary.parent == target.parent
    assert link.is_symlink()
    assert target.read_text() == "new"
    with pytest.raises(OutputError, match="exists already"), Outputs() as outputs:
        outputs.image(link)
    with Outputs(force=True) as outputs:
        outputs.image(link).write_text("newer")
    assert link.is_symlink()
    assert target.read_text() == "newer"


def test_two_outputs_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "link.nii").symlink_to(tmp_path / "a.nii")
    for other in (tmp_path / "a.nii", tmp_path / "x" / ".." / "a.nii", tmp_path / "link.nii"):
        with pytest.raises(OutputError, match="two outputs"):
            write(tmp_path / "a.nii", other, force=True)
    assert names(tmp_path) == ["link.nii"]


@pytest.mark.parametrize("name", ["a", "a.gz", "a.img", "a.mgz", "nii", "a.nii.bz2"])
def test_unsuitable_suffixes(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match=r"must end in \.nii\.gz or \.nii"), Outputs() as outputs:
        outputs.image(tmp_path / name)
    assert names(tmp_path) == []


def test_suffixes_in_capitals(tmp_path: Path) -> None:
    with Outputs() as outputs:
        assert outputs.image(tmp_path / "A.NII.GZ").name.endswith(".nii.gz")


def test_places_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.nii").mkdir()
    (tmp_path / "full.nii").symlink_to("/dev/full")
    loop = tmp_path / "loop.nii"
    loop.symlink_to(loop)
    for path, fact in [
        (tmp_path / "absent" / "a.nii", "directory does not exist; create it"),
        (tmp_path / "file" / "a.nii", "Not a directory"),
        (tmp_path / "folder.nii", "not a regular file"),
        (tmp_path / "full.nii", "not a regular file"),
        (loop, "symbolic links"),
        (Path("/proc/a.nii"), "cannot be written"),
        (tmp_path / ("x" * 300 + ".nii"), "File name too long"),
    ]:
        before = names(tmp_path)
        with pytest.raises(OutputError, match=fact) as found, Outputs(force=True) as outputs:
            outputs.image(path)
        assert str(found.value).startswith(f"{path}: ")
        assert names(tmp_path) == before


def test_a_long_name_that_is_allowed(tmp_path: Path) -> None:
    """255 bytes are; the temporary name must not be longer than that."""
    path = tmp_path / ("\u00e9" * 125 + ".nii")
    with Outputs() as outputs:
        outputs.image(path).write_text("new")
    assert path.read_text() == "new"


def test_a_failing_write_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"a.nii: cannot be written \(No space left.*nothing was"):
        write(tmp_path / "a.nii", error=OSError(28, "No space left on device"))
    assert names(tmp_path) == []


def test_a_disk_that_turns_out_full_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems say so only when asked to have written; then no file gets its name."""
    calls = []

    def fsync(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OutputError, match=r"b.nii: cannot be written"):
        write(tmp_path / "a.nii", tmp_path / "b.nii")
    assert names(tmp_path) == []


def test_a_temporary_file_that_vanished(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"), Outputs() as outputs:
        outputs.image(tmp_path / "a.nii").unlink()
    assert names(tmp_path) == []
