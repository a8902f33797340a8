"""Images of one and several volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from synthetic_scans import parcellation, textured
from vmruntime import Grid, Volume
from vmruntime.errors import ScanError
from vmruntime.io.series import read_grid, read_series, write_series
from vmruntime.series import Series
from worlds import FIXED, MOVING, chain, written


def series_file(path: Path, count: int = 3, kind: Any = nib.Nifti1Image) -> Path:
    data = np.stack([textured(MOVING.shape, seed) for seed in range(count)], axis=-1)
    image = kind(data.astype(np.int16), MOVING.affine)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 2.25
    image.header["slice_code"] = 3
    image.header["descrip"] = b"resting state"
    image.set_sform(MOVING.affine, code=4)
    nib.save(image, path)
    return path


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_every_volume_is_carried_alone(tmp_path: Path, kind: Any) -> None:
    series = read_series(series_file(tmp_path / "bold.nii.gz", kind=kind))
    assert series.data.dtype == np.int16
    moved, confidence = series.resample(chain(), FIXED, threads=2)
    assert confidence is None
    write_series(tmp_path / "moved.nii.gz", moved)
    image = nib.load(tmp_path / "moved.nii.gz")
    assert type(image) is kind
    assert image.shape == (*FIXED.shape, 3)
    for number in range(3):
        scan = Volume(series.data[..., number], series.grid)
        expected = chain().resample(scan, FIXED).data
        np.testing.assert_array_equal(np.asarray(image.dataobj)[..., number], expected)
    header = image.header
    assert header.get_zooms()[3] == 2.25
    assert header.get_xyzt_units() == ("mm", "sec")
    assert header["descrip"].item() == b"resting state"
    assert int(header["sform_code"]) == 4
    assert int(header["slice_code"]) == 0
    np.testing.assert_allclose(image.affine, FIXED.affine, atol=1e-4)


def test_freesurfers_time_step_is_milliseconds(tmp_path: Path) -> None:
    data = np.stack([textured(MOVING.shape, seed) for seed in range(2)], axis=-1)
    image = nib.MGHImage(data, MOVING.affine)
    image.header["tr"] = 1500
    nib.save(image, tmp_path / "bold.mgz")
    series = read_series(tmp_path / "bold.mgz")
    write_series(tmp_path / "copy.nii.gz", series)
    header = nib.load(tmp_path / "copy.nii.gz").header
    assert header.get_zooms()[3] == 1500
    assert header.get_xyzt_units() == ("mm", "msec")


def test_a_series_without_a_header(tmp_path: Path) -> None:
    series = Series(np.zeros((*FIXED.shape, 2), np.float32), FIXED)
    write_series(tmp_path / "plain.nii", series)
    assert nib.load(tmp_path / "plain.nii").header.get_xyzt_units() == ("mm", "unknown")


def test_label_series(tmp_path: Path) -> None:
    data = np.stack([parcellation(MOVING.shape, seed=seed) for seed in (1, 2)], axis=-1)
    nib.save(nib.Nifti1Image(data.astype(np.float32), MOVING.affine), tmp_path / "labels.nii")
    series = read_series(tmp_path / "labels.nii", labels=True)
    assert series.data.dtype == np.int32
    moved, confidence = series.resample(chain(), FIXED, "label")
    assert confidence is not None
    assert moved.data.shape == confidence.data.shape == (*FIXED.shape, 2)
    expected = chain().resample_labels(series.volume(1), FIXED)
    np.testing.assert_array_equal(moved.data[..., 1], expected[0].data)
    np.testing.assert_array_equal(confidence.data[..., 1], expected[1].data)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_single_image_stays_three_dimensional(tmp_path: Path, shape: tuple[int, ...]) -> None:
    data = textured(MOVING.shape).reshape(*MOVING.shape, *shape)
    nib.save(nib.Nifti1Image(data, MOVING.affine), tmp_path / "scan.nii")
    series = read_series(tmp_path / "scan.nii")
    assert series.data.shape == (*MOVING.shape, 1)
    write_series(tmp_path / "copy.nii", series)
    assert nib.load(tmp_path / "copy.nii").shape == MOVING.shape


def test_types(tmp_path: Path) -> None:
    for kind in ("uint8", "int32", ">i2", "float64"):
        data = textured(MOVING.shape).astype(kind)
        nib.save(nib.Nifti1Image(data, MOVING.affine), tmp_path / "scan.nii")
        found = read_series(tmp_path / "scan.nii").data
        expected = np.dtype(np.float32) if kind == "float64" else np.dtype(kind).newbyteorder("=")
        assert found.dtype == expected
        np.testing.assert_allclose(found[..., 0], data, rtol=1e-6)
    image = nib.Nifti1Image(textured(MOVING.shape).astype(np.int16), MOVING.affine)
    image.header.set_slope_inter(0.5, 10)
    nib.save(image, tmp_path / "scaled.nii")
    assert read_series(tmp_path / "scaled.nii").data.dtype == np.float32


def test_a_constant_image_is_fine(tmp_path: Path) -> None:
    """An empty mask is worth carrying, other than for a registration."""
    nib.save(nib.Nifti1Image(np.zeros(MOVING.shape, np.uint8), MOVING.affine), tmp_path / "no.nii")
    assert read_series(tmp_path / "no.nii").data.max() == 0


def test_bad_images(tmp_path: Path) -> None:
    path = tmp_path / "bad.nii"
    with pytest.raises(ScanError, match="no such file"):
        read_series(tmp_path / "none.nii")
    for shape in ((3, 4, 5, 1, 3), (3, 4)):
        nib.save(nib.Nifti1Image(np.zeros(shape, np.float32), np.eye(4)), path)
        with pytest.raises(ScanError, match="axes"):
            read_series(path)
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5), np.complex64), np.eye(4)), path)
    with pytest.raises(ScanError, match="real numbers"):
        read_series(path)
    data = np.zeros((3, 4, 5, 2), np.float32)
    data[0, 0, 0, 1] = np.nan
    nib.save(nib.Nifti1Image(data, np.eye(4)), path)
    with pytest.raises(ScanError, match="1 voxels are NaN"):
        read_series(path)
    nib.save(nib.Nifti1Image(data * 0 + 0.5, np.eye(4)), path)
    with pytest.raises(ScanError, match=r"whole numbers|NaN"):
        read_series(path, labels=True)
    content = series_file(tmp_path / "whole.nii").read_bytes()
    with pytest.raises(ScanError, match="truncated"):
        read_series(written(path, content[: len(content) // 2]))
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5), np.uint8), None), path)
    with pytest.raises(ScanError, match="no affine"):
        read_grid(path)


def test_reading_a_grid(tmp_path: Path) -> None:
    assert read_grid(series_file(tmp_path / "bold.nii.gz")).matches(MOVING)
    with pytest.raises(ScanError, match="no such file"):
        read_grid(tmp_path / "none.nii")


def test_a_series_that_does_not_fit() -> None:
    for shape in ((3, 4, 5), (3, 4, 6, 1), (3, 4, 5, 0)):
        with pytest.raises(ScanError, match="no volumes"):
            Series(np.zeros(shape), Grid((3, 4, 5), np.eye(4)))


def test_a_series_in_micrometres_is_written_in_millimetres(tmp_path: Path) -> None:
    data = np.random.default_rng(0).random((4, 5, 6, 3), np.float32)
    image = nib.Nifti1Image(data, np.diag([2000.0, 1000, 500, 1]))
    image.header.set_xyzt_units("micron", "sec")
    nib.save(image, tmp_path / "series.nii")
    write_series(tmp_path / "copy.nii.gz", read_series(tmp_path / "series.nii"))
    written = nib.load(tmp_path / "copy.nii.gz")
    assert written.header.get_xyzt_units() == ("mm", "sec")
    assert np.allclose(written.affine, np.diag([2.0, 1, 0.5, 1]))
    assert written.shape == data.shape
