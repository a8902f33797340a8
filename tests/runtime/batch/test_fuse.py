"""Fusing files plane by plane gives what fusing whole volumes gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import vmruntime.batch.fuse as fuse_module
from synthetic_scans import affine_of, parcellation, textured
from vmruntime import Grid, Volume
from vmruntime.batch.fuse import fuse_files
from vmruntime.batch.planes import PlaneReader, RollingPlanes
from vmruntime.batch.vote import LocalWeights, vote
from vmruntime.errors import GridMismatchError, ScanError

SHAPE = (11, 9, 37)


def grid() -> Grid:
    return Grid(SHAPE, affine_of())


def files(
    folder: Path, kind: type[np.integer] = np.int16, suffix: str = ".nii.gz"
) -> tuple[Path, list[Path], list[Path]]:
    """A scan, three segmentations of it and the scans they came from."""
    fixed, labels, moved = folder / "fixed.nii.gz", [], []
    Volume(textured(SHAPE, 0), grid()).save(fixed)
    for seed in range(3):
        labels.append(folder / f"labels{seed}{suffix}")
        data = parcellation(SHAPE, (0, 2, 41, 77), seed).astype(kind)
        Volume(data, grid()).save(labels[-1])
        moved.append(folder / f"moved{seed}{suffix}")
        Volume(textured(SHAPE, seed + 1) + textured(SHAPE, 0), grid()).save(moved[-1])
    return fixed, labels, moved


def whole(fixed: Path, labels: list[Path], moved: list[Path] | None) -> tuple[NDArray, NDArray]:
    """The same from whole volumes."""
    from vmruntime.io.images import read_labels, read_scan

    said = np.stack([read_labels(path).data.ravel() for path in labels])
    weights = None
    if moved is not None:
        local = LocalWeights(read_scan(fixed).data)
        weights = np.stack([local.of(read_scan(path).data).ravel() for path in moved])
    winners, shares = vote(said, weights)
    shares[(said == said[0]).all(axis=0)] = 1
    return winners.reshape(SHAPE), shares.reshape(SHAPE)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("local", [False, True])
def test_against_whole_volumes(tmp_path: Path, local: bool, suffix: str) -> None:
    fixed, labels, moved = files(tmp_path, suffix=suffix)
    images = moved if local else None
    found, shares = fuse_files(fixed, labels, images)
    winners, confidence = whole(fixed, labels, images)
    assert found.data.dtype == np.int16
    np.testing.assert_array_equal(found.data, winners)
    np.testing.assert_allclose(shares.data, confidence, rtol=1e-4)
    assert 0 < shares.data.min() < shares.data.max() == 1
    assert found.grid.matches(grid())


@pytest.mark.parametrize("block", [1, 5, 16, 64])
def test_blocks_leave_no_seams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    fixed, labels, moved = files(tmp_path)
    monkeypatch.setattr(fuse_module, "BLOCK", block)
    found, shares = fuse_files(fixed, labels, moved)
    winners, confidence = whole(fixed, labels, moved)
    np.testing.assert_array_equal(found.data, winners)
    np.testing.assert_allclose(shares.data, confidence, rtol=1e-4)


def test_one_opinion_is_certain(tmp_path: Path) -> None:
    fixed, labels, _ = files(tmp_path)
    found, shares = fuse_files(fixed, [labels[1]] * 3)
    np.testing.assert_array_equal(found.data, parcellation(SHAPE, (0, 2, 41, 77), 1))
    assert (shares.data == 1).all()


def test_types_are_widened(tmp_path: Path) -> None:
    fixed, labels, _ = files(tmp_path, np.uint8)
    large = tmp_path / "large.nii.gz"
    Volume(np.full(SHAPE, 12175, np.int32), grid()).save(large)
    found, _ = fuse_files(fixed, [large, large, labels[0]])
    assert found.data.dtype == np.int32
    assert (found.data == 12175).all()


def test_little_is_held_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held of an atlas is a block and its margins, however long the image is."""
    fixed, labels, moved = files(tmp_path)
    monkeypatch.setattr(fuse_module, "BLOCK", 4)
    most = 0
    around = RollingPlanes.around

    def watched(self: RollingPlanes, start: int, stop: int) -> NDArray:
        nonlocal most
        block = around(self, start, stop)
        most = max(most, block.shape[2])
        return block

    monkeypatch.setattr(RollingPlanes, "around", watched)
    fuse_files(fixed, labels, moved)
    assert most == 4 + 2 * 4


def test_another_grid_is_refused(tmp_path: Path) -> None:
    fixed, labels, _ = files(tmp_path)
    other = tmp_path / "other.nii.gz"
    Volume(np.zeros(SHAPE, np.int16), Grid(SHAPE, affine_of(origin=(0, 0, 0)))).save(other)
    with pytest.raises(GridMismatchError, match=r"other\.nii\.gz"):
        fuse_files(fixed, [*labels, other])


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_file_that_ends_too_early(tmp_path: Path, suffix: str) -> None:
    fixed, labels, _ = files(tmp_path, suffix=suffix)
    content = labels[2].read_bytes()
    labels[2].write_bytes(content[: len(content) // 2])
    with pytest.raises(ScanError, match=r"labels2\.nii.*(ends too early|damaged|cannot be read)"):
        fuse_files(fixed, labels)


def test_what_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(b"nothing")
    with pytest.raises(ScanError, match=r"a\.nii\.gz"):
        PlaneReader(path)
    with pytest.raises(ScanError, match="cannot be read"):
        PlaneReader(tmp_path / "none.nii")
