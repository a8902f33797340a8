"""Tables of pairs: what they may look like, and how they can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmruntime.batch.errors import BatchError
from vmruntime.batch.pairs_file import read_pairs


def table(folder: Path, text: str | bytes, name: str = "pairs.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_files_are_relative_to_the_table(tmp_path: Path) -> None:
    text = "id,fixed,moving_seg,moving\none,f.nii.gz,seg.nii,/abs/m.mgz\n"
    (pair,) = read_pairs(table(tmp_path, text))
    assert (pair.id, pair.subject) == ("one", "one")
    assert pair.fixed == tmp_path / "f.nii.gz"
    assert pair.moving == Path("/abs/m.mgz")
    assert pair.moving_seg == tmp_path / "seg.nii"
    assert pair.fixed_seg is None


def test_relative_tables_give_absolute_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker may run in another folder."""
    table(tmp_path, "moving,fixed\na.nii,b.nii\n")
    monkeypatch.chdir(tmp_path)
    (pair,) = read_pairs(Path("pairs.csv"))
    assert pair.moving == tmp_path / "a.nii"


def test_a_name_is_made_of_both_files(tmp_path: Path) -> None:
    text = "moving,fixed\nx/my scan (1).nii.gz,y/b.c.mgz\n"
    (pair,) = read_pairs(table(tmp_path, text))
    assert pair.id == "my-scan-1_to_b.c"


def test_tabs_and_a_byte_order_mark_and_blanks(tmp_path: Path) -> None:
    text = "\ufeffmoving\t fixed \n a.nii \tb, c.nii\n\n"
    (pair,) = read_pairs(table(tmp_path, text, "pairs.tsv"))
    assert pair.moving.name == "a.nii"
    assert pair.fixed.name == "b, c.nii"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no column 'moving'"),
        ("moving,fixed\n", "has no pairs"),
        ("moving\na.nii\n", "has no column 'fixed'"),
        ("a.nii,b.nii\nc.nii,d.nii\n", "has no column 'moving'"),
        ("moving,fixed,labels\na,b,c\n", "has a column 'labels'"),
        ("moving,fixed,moving\na,b,c\n", "names a column twice"),
        ("moving,fixed\na.nii\n", "line 2: has not as many columns"),
        ("moving,fixed\na.nii,b.nii,c.nii\n", "line 2: has not as many columns"),
        ("moving,fixed\na,b\n,c\n", "line 3: has no moving scan"),
        ("moving,fixed,id\na,b,x\nc,d,X\n", "two are called 'X'"),
        ("moving,fixed,id\na,b,../x\n", "line 2: '../x' cannot be an id"),
        ("moving,fixed,id\na,b,.hidden\n", "cannot be an id"),
        ("moving,fixed\na,b\na,b\n", "give each its own in a column id"),
        (b"moving,fixed\n\xff\xfe,b\n", "is no table in UTF-8"),
        ('moving,fixed\n"a"x,b\n', "is no table in UTF-8"),
    ],
)
def test_what_is_no_table_of_pairs(tmp_path: Path, text: str | bytes, says: str) -> None:
    with pytest.raises(BatchError) as raised:
        read_pairs(table(tmp_path, text))
    assert says in str(raised.value)
    assert "pairs.csv" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(BatchError, match="no such file"):
        read_pairs(tmp_path / "pairs.csv")
    with pytest.raises(BatchError, match="cannot be read"):
        read_pairs(tmp_path)
