"""Lists of pairs, good and bad."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmcalibration.errors import CalibrationError
from vmcalibration.pairs import read_pairs


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    text = "moving,fixed\nscans/a.nii.gz,b.mgz\n\n/c.nii,d.nii\n"
    found = read_pairs(write(tmp_path / "p.csv", text))
    assert [pair.name for pair in found] == ["a -> b", "c -> d"]
    assert found[0].moving == tmp_path / "scans" / "a.nii.gz"
    assert found[1].moving == Path("/c.nii")
    assert found[0].moving_seg is None


def test_columns_in_any_order_with_spaces_and_a_mark(tmp_path: Path) -> None:
    text = (
        "\ufefffixed, moving_seg ,moving,fixed_intensity\nf.nii, s.nii, m.nii, none\nf.nii,,m.nii\n"
    )
    found = read_pairs(write(tmp_path / "p.csv", text))
    assert found[0].moving_seg == tmp_path / "s.nii"
    assert found[0].fixed_intensity == "none"
    assert found[1].moving_seg is None
    assert found[1].name == "m -> f (2)"


def test_a_folder(tmp_path: Path) -> None:
    for name in (
        "x_moving.nii.gz",
        "x_fixed.mgz",
        "x_fixed_seg.nii",
        "y_moving.nii",
        "y_fixed.nii",
    ):
        (tmp_path / name).touch()
    (tmp_path / "notes.txt").touch()
    found = read_pairs(tmp_path)
    assert [pair.name for pair in found] == ["x", "y"]
    assert found[0].fixed_seg == tmp_path / "x_fixed_seg.nii"
    assert found[0].moving_seg is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no pairs"),
        ("\n\n", "has no pairs"),
        ("moving,fixed\n", "has no pairs"),
        ("a.nii,b.nii\n", "must name the columns moving,fixed"),
        ("moving,fixed,weight\na,b,c\n", "'weight'"),
        ("moving,fixed,fixed\na,b,c\n", "'fixed'"),
        ("moving,fixed\na.nii\n", "line 2 has no fixed scan"),
        ("moving,fixed\na,b,c\n", "line 2 has 3 values for 2 columns"),
        ('moving,fixed\n"a,b\n', "is no CSV file"),
    ],
)
def test_bad_lists(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CalibrationError, match=message) as raised:
        read_pairs(write(tmp_path / "p.csv", text))
    assert "\n" not in str(raised.value)


def test_no_such_list_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="cannot be read"):
        read_pairs(tmp_path / "none.csv")
    (tmp_path / "p.csv").write_bytes(b"\xff\xfe\x00moving")
    with pytest.raises(CalibrationError, match="UTF-8"):
        read_pairs(tmp_path / "p.csv")


def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="has no pairs"):
        read_pairs(tmp_path)
    (tmp_path / "x_moving.nii").touch()
    with pytest.raises(CalibrationError, match="no x_fixed scan"):
        read_pairs(tmp_path)
    (tmp_path / "x_moving.nii.gz").touch()
    with pytest.raises(CalibrationError, match="has both"):
        read_pairs(tmp_path)
