"""Atlases and subjects: how they are found and what their pairs are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmruntime.batch.cohort import Atlas, cohort_of, find_subjects, parse_atlas
from vmruntime.batch.errors import BatchError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_a_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "b.nii.gz", "a scan.nii.gz", "c.txt", "deep/d.nii.gz")
    (tmp_path / "folder.nii.gz").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_subjects("*.nii.gz") == [
        ("a-scan", tmp_path / "a scan.nii.gz"),
        ("b", tmp_path / "b.nii.gz"),
    ]
    assert [name for name, _ in find_subjects(f"{tmp_path}/**/*.nii.gz")] == ["a-scan", "b", "d"]


def test_a_bids_data_set(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-02/ses-a/anat/sub-02_ses-a_run-1_T1w.nii",
        "sub-02/ses-a/anat/sub-02_ses-a_run-1_T1w.json",
        "sub-02/ses-a/anat/sub-02_ses-a_T2w.nii.gz",
        "sub-02/ses-a/func/sub-02_ses-a_T1w.nii.gz",
        "derivatives/sub-01/anat/sub-01_T1w.nii.gz",
    )
    found = find_subjects(str(tmp_path))
    assert [name for name, _ in found] == ["sub-01", "sub-02_ses-a_run-1"]
    assert found[0][1] == tmp_path / "sub-01/anat/sub-01_T1w.nii.gz"


def test_nothing_is_found(tmp_path: Path) -> None:
    with pytest.raises(BatchError, match="no file matches"):
        find_subjects(f"{tmp_path}/*.nii.gz")
    with pytest.raises(BatchError, match="holds no sub-"):
        find_subjects(str(tmp_path))


def test_two_scans_of_one_name(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.nii.gz", "b/x.nii")
    with pytest.raises(BatchError, match="two are called 'x'"):
        find_subjects(f"{tmp_path}/*/x.*")


@pytest.mark.parametrize("text", ["a.nii", "a.nii:", ":b.nii", "a:b:c", ""])
def test_what_is_no_atlas(text: str) -> None:
    with pytest.raises(BatchError, match="give a scan and its labels"):
        parse_atlas(text)


def test_an_atlas_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_atlas("a.nii:b.nii") == Atlas(tmp_path / "a.nii", tmp_path / "b.nii")


def test_every_atlas_onto_every_subject() -> None:
    atlases = [Atlas(Path(f"/{n}/T1.mgz"), Path(f"/{n}/seg.mgz")) for n in "xy"]
    atlases.append(Atlas(Path("/z/my_mni-2.nii.gz"), Path("/z/seg.nii.gz")))
    pairs = cohort_of(atlases, [("s1", Path("/s1.nii")), ("s2", Path("/s2.nii"))])
    assert [pair.id for pair in pairs] == [
        "s1_atlas-T11", "s1_atlas-T12", "s1_atlas-mymni2",
        "s2_atlas-T11", "s2_atlas-T12", "s2_atlas-mymni2",
    ]  # fmt: skip
    assert {pair.subject for pair in pairs} == {"s1", "s2"}
    first = pairs[0]
    assert (first.moving, first.moving_seg) == (Path("/x/T1.mgz"), Path("/x/seg.mgz"))
    assert (first.fixed, first.fixed_seg) == (Path("/s1.nii"), None)
