"""Outputs under names of BIDS derivatives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from vmruntime.cli.bids import bids_names
from vmruntime.io.images import read_labels

Run = Callable[..., Result]

NAMES = [
    "sub-01_desc-registration_qc.json",
    "sub-01_desc-registration_qc.png",
    "sub-01_from-fixed_to-moving_mode-image_xfm.nii.gz",
    "sub-01_from-moving_to-fixed_mode-image_desc-affine_xfm.txt",
    "sub-01_from-moving_to-fixed_mode-image_xfm.nii.gz",
    "sub-01_space-fixed_desc-jacobian_map.nii.gz",
    "sub-01_space-fixed_desc-moved_T1w.nii.gz",
]


@pytest.fixture(autouse=True)
def _matplotlib() -> None:
    pytest.importorskip("matplotlib", reason="the figure extra is not installed")


def test_every_name(infer: Run, tmp_path: Path, pair: dict[str, Path]) -> None:
    result = infer(
        "--moving-seg", pair["moving_seg"], "--moving-seg", pair["moving_seg"],
        "--bids-prefix", tmp_path / "sub-01_",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    labels = ["sub-01_space-fixed_desc-2_dseg.nii.gz", "sub-01_space-fixed_dseg.nii.gz"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES + labels)
    one, other = (read_labels(tmp_path / name).data for name in labels)
    assert (one == other).all()
    facts = json.loads((tmp_path / "sub-01_desc-registration_qc.json").read_text())
    assert facts["inverse_consistency"] is not None


def test_without_labels(infer: Run, tmp_path: Path) -> None:
    result = infer("--bids-prefix", tmp_path / "sub-01_")
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == NAMES


def test_a_name_that_was_given_is_kept(infer: Run, tmp_path: Path) -> None:
    result = infer("--bids-prefix", tmp_path / "sub-01_", moved=tmp_path / "mine.nii")
    assert result.exit_code == 0, result.stderr
    expected = [name for name in NAMES if "desc-moved" not in name]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*expected, "mine.nii"])


def test_an_existing_file_stops_all(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / NAMES[5]).write_text("old")
    line = refused("--bids-prefix", tmp_path / "sub-01_", moved=tmp_path / "moved.nii")
    assert f"{tmp_path / NAMES[5]}: exists already" in line


def test_a_directory_that_is_missing(refused: Callable[..., str], tmp_path: Path) -> None:
    line = refused("--bids-prefix", tmp_path / "out" / "anat" / "sub-01_", moved=tmp_path / "m.nii")
    assert "its directory does not exist" in line


def test_names_are_unique() -> None:
    names = bids_names("x_", 12)
    labels = names.pop("moved_seg")
    assert isinstance(labels, tuple)
    assert len(labels) == 12
    assert len({*labels, *names.values()}) == 12 + len(names)
