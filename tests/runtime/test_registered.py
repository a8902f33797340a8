"""What can be done with a registered pair."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fake_backend import FakeBackend, translation
from synthetic_scans import MODEL_SHAPE, affine_of, model_volume, parcellation, write_nifti
from vmruntime import Grid, GridMismatchError, Manifest, Registrar, Registration, ScanError, Volume

LABELS = (0, 2, 41, 2035, 12175)


@pytest.fixture
def result(manifest: Manifest) -> Registration:
    opened = Registrar(manifest, FakeBackend(translation(2, -3, 0)), threads=2)
    return opened.register(model_volume(0, "moving"), model_volume(1, "fixed"))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.int64])
def test_labels_keep_type_and_values(result: Registration, tmp_path: Path, dtype: type) -> None:
    values = LABELS if dtype is not np.uint8 else (0, 2, 41, 77)
    labels = parcellation(MODEL_SHAPE, values).astype(dtype)
    moved = result.warp_labels(write_nifti(tmp_path / "seg.nii.gz", labels))
    assert moved.data.dtype == dtype
    np.testing.assert_array_equal(moved.data[:-2, 3:], labels[2:, :-3])
    assert not moved.data[-2:].any()
    assert moved.grid is result.transform.fixed


def test_labels_on_another_grid(result: Registration) -> None:
    for shape, origin in [(MODEL_SHAPE, (13.0, -33.25, 7.0)), ((16, 32, 40), (12.5, -33.25, 7.0))]:
        grid = Grid(shape, affine_of(origin=origin))
        labels = Volume(parcellation(shape), grid, None, "seg.nii")
        with pytest.raises(GridMismatchError, match=r"seg.nii lies on .*resample it"):
            result.warp_labels(labels)
        with pytest.raises(GridMismatchError, match=r"seg.nii lies on .*resample it"):
            result.quality(
                moving_labels=Volume(parcellation(MODEL_SHAPE), result.pair.moving.grid),
                fixed_labels=labels,
            )


def test_labels_that_are_probabilities(result: Registration, tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "seg.nii", np.full(MODEL_SHAPE, 0.3, np.float32))
    with pytest.raises(ScanError, match="whole numbers"):
        result.warp_labels(path)


def test_perfect_dice(result: Registration) -> None:
    labels = Volume(parcellation(MODEL_SHAPE, LABELS), result.pair.moving.grid)
    target = result.warp_labels(labels)
    quality = result.quality(moving_labels=labels, fixed_labels=target, local=False)
    assert quality.overlap_before is not None
    assert quality.overlap_after is not None
    assert set(quality.overlap_after.labels) == set(LABELS) - {0}
    assert quality.overlap_after.mean == 1
    assert quality.overlap_before.mean < 0.95
    assert quality.similarity_after.local_ncc is None


def test_chosen_labels(result: Registration) -> None:
    labels = Volume(parcellation(MODEL_SHAPE, LABELS), result.pair.moving.grid)
    target = result.warp_labels(labels)
    quality = result.quality(
        moving_labels=labels, fixed_labels=target, labels=iter([41, 12175, 999]), local=False
    )
    assert quality.overlap_after is not None
    assert quality.overlap_before is not None
    assert list(quality.overlap_after.labels) == [41, 12175]
    assert list(quality.overlap_before.labels) == [41, 12175]


def test_no_common_label(result: Registration) -> None:
    labels = Volume(parcellation(MODEL_SHAPE, (0, 7)), result.pair.moving.grid)
    target = Volume(parcellation(MODEL_SHAPE, (0, 8)), result.pair.fixed.grid)
    quality = result.quality(moving_labels=labels, fixed_labels=target, local=False)
    assert quality.overlap_after is not None
    assert np.isnan(quality.overlap_after.mean)


def test_similarity_of_a_perfect_match(manifest: Manifest) -> None:
    moving = model_volume(0)
    opened = Registrar(manifest, FakeBackend(translation(2, -3, 0)))
    first = opened.register(moving, model_volume(1))
    again = opened.register(moving, first.moved)
    quality = again.quality()
    assert quality.similarity_after.mse < 1e-12
    assert quality.similarity_after.ncc == pytest.approx(1)
    assert quality.similarity_before.mse > 1e-3
    assert quality.regularity.folding_voxels == 0
    assert quality.regularity.sd_log_jacobian == 0
