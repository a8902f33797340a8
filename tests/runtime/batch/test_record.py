"""What is known about a pair on the disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vmruntime.batch.content import content_of, require_unchanged
from vmruntime.batch.layout import remove_leftovers
from vmruntime.batch.record import Record, read_record, require_own, write_record
from vmruntime.errors import OutputError, ScanError
from vmruntime.io.outputs import Outputs

KEY = {"inputs": {"moving": "ab"}, "settings": {"write": ["moved"]}}


def test_there_and_back(tmp_path: Path) -> None:
    record = Record("done", {"s/a.nii": 3}, KEY, {"wall": 1.5, "x": None}, "here/0", 1.25)
    write_record(tmp_path / "r.json", record)
    assert read_record(tmp_path / "r.json") == record
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "{}", '{"version": 2, "status": "done", "outputs": {}}',
     '{"version": 1, "status": "half", "outputs": {}}',
     '{"version": 1, "status": "done", "outputs": {}, "more": 1}', "\udcff"],
)  # fmt: skip
def test_a_damaged_record_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(text, errors="surrogateescape")
    assert read_record(path) is None
    assert read_record(tmp_path / "none.json") is None


def test_done_means_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    record = Record("done", {"a": 3}, KEY)
    assert record.is_done(json.loads(json.dumps(KEY)), tmp_path)
    assert not record.is_done(KEY | {"model": "other"}, tmp_path)
    assert not Record("begun", {"a": 3}, KEY).is_done(KEY, tmp_path)
    (tmp_path / "a").write_bytes(b"12")
    assert not record.is_done(KEY, tmp_path)
    (tmp_path / "a").unlink()
    assert not record.is_done(KEY, tmp_path)


def test_the_files_of_others_are_not_ours(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    require_own([tmp_path / "a", tmp_path / "b"], Record("begun", {"a": 0}), tmp_path)
    for record in (None, Record("begun", {"b": 0})):
        with pytest.raises(OutputError, match="is not from vm-batch"):
            require_own([tmp_path / "a"], record, tmp_path)


def test_what_a_killed_process_left(tmp_path: Path) -> None:
    long = tmp_path / f"{'x' * 60}_T1w.nii.gz"
    finals = [tmp_path / "a_dseg.nii.gz", long]
    outputs = Outputs()
    left = [outputs.image(final) for final in finals]
    others = [".a_dseg.nii.gz", ".a_dseg.nii.gz.mine", ".b_dseg.nii.gz.abcdefgh.nii.gz"]
    for name in others:
        (tmp_path / name).touch()
    assert all(path.exists() for path in left)
    remove_leftovers(finals)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)
    remove_leftovers([tmp_path / "no" / "such" / "folder"])


def test_content_tells_files_apart(tmp_path: Path) -> None:
    one, same, other = (tmp_path / name for name in "abc")
    for path, text in ((one, "x"), (same, "x"), (other, "y")):
        path.write_text(text)
    digests = [content_of(path).digest for path in (one, same, other)]
    assert digests[0] == digests[1] != digests[2]


def test_both_files_of_an_analyze_pair_count(tmp_path: Path) -> None:
    header, image = tmp_path / "a.hdr", tmp_path / "a.img"
    header.write_text("h")
    image.write_text("1")
    first = content_of(header)
    image.write_text("2")
    assert content_of(header).digest != first.digest
    with pytest.raises(ScanError, match="was changed"):
        require_unchanged(header, first)


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("x")
    content = content_of(path)
    require_unchanged(path, content)
    path.write_text("xy")
    with pytest.raises(ScanError, match="was changed while it was read"):
        require_unchanged(path, content)
    path.unlink()
    with pytest.raises(ScanError, match="was changed"):
        require_unchanged(path, content)
    with pytest.raises(ScanError, match="no such file"):
        content_of(path)
    with pytest.raises(ScanError, match="cannot be read"):
        content_of(tmp_path)
