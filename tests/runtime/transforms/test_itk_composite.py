"""Composites in HDF5, against SimpleITK in both directions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vmruntime import Grid
from vmruntime.chain import AffineStep, Chain, WarpStep
from vmruntime.errors import MissingDependencyError, TransformError
from vmruntime.io.itk_composite import read_composite, write_composite
from worlds import GRIDS, chain, itk_field, matrix, points, through_itk, warp

h5py = pytest.importorskip("h5py", reason="the h5 extra is not installed")

EXACT_MM = 1e-5
"""The field is stored in float32; places are some 100 mm from the origin."""


@pytest.mark.parametrize("name", GRIDS)
def test_itk_reads_what_is_written(sitk: Any, tmp_path: Path, name: str) -> None:
    steps = Chain((AffineStep(matrix(4, 0.5)), warp(GRIDS[name]), AffineStep(matrix())))
    path = tmp_path / "composite.h5"
    write_composite(path, steps)
    transform = sitk.ReadTransform(str(path))
    places = points(GRIDS[name], margin=1)
    np.testing.assert_allclose(steps.map(places), through_itk(transform, places), atol=EXACT_MM)


@pytest.mark.parametrize("name", GRIDS)
def test_reads_what_itk_writes(sitk: Any, tmp_path: Path, name: str) -> None:
    """With a rigid part, and the field in its own precision."""
    rigid = sitk.Euler3DTransform((1, 2, 3), 0.1, 0.2, -0.3, (4, 5, 6))
    field = sitk.DisplacementFieldTransform(itk_field(sitk, warp(GRIDS[name])))
    transform = sitk.CompositeTransform([rigid, field])
    sitk.WriteTransform(transform, str(tmp_path / "composite.h5"))
    steps = read_composite(tmp_path / "composite.h5")
    assert [type(step) for step in steps.steps] == [WarpStep, AffineStep]
    places = points(GRIDS[name], margin=1)
    np.testing.assert_allclose(steps.map(places), through_itk(transform, places), atol=EXACT_MM)


def test_a_field_alone(sitk: Any, tmp_path: Path) -> None:
    transform = sitk.DisplacementFieldTransform(itk_field(sitk, warp()))
    sitk.WriteTransform(transform, str(tmp_path / "field.h5"))
    steps = read_composite(tmp_path / "field.h5").steps
    assert len(steps) == 1
    np.testing.assert_allclose(steps[0].map(points()), warp().map(points()), atol=EXACT_MM)


def test_round_trip_is_exact(tmp_path: Path) -> None:
    write_composite(tmp_path / "composite.h5", chain())
    field, affine = read_composite(tmp_path / "composite.h5").steps
    assert isinstance(field, WarpStep)
    assert isinstance(affine, AffineStep)
    np.testing.assert_array_equal(field.displacement_mm, warp().displacement_mm)
    np.testing.assert_allclose(field.grid.affine, warp().grid.affine, atol=1e-12)
    np.testing.assert_array_equal(affine.matrix, matrix())


def test_the_misspelt_names_of_old_itk(tmp_path: Path) -> None:
    path = tmp_path / "old.h5"
    write_composite(path, chain())
    with h5py.File(path, "a") as file:
        for group in file["TransformGroup"].values():
            for name in ("Parameters", "FixedParameters"):
                if f"Transform{name}" in group:
                    group.move(f"Transform{name}", f"Tranform{name}")
    np.testing.assert_array_equal(read_composite(path).map(points()), chain().map(points()))


def test_more_than_ten_parts_keep_their_order(tmp_path: Path) -> None:
    steps = Chain(tuple(AffineStep(matrix(seed, 1.0)) for seed in range(12)))
    write_composite(tmp_path / "many.h5", steps)
    found = read_composite(tmp_path / "many.h5").map(points())
    np.testing.assert_allclose(found, steps.map(points()), atol=1e-9)


def test_nitransforms_reads_what_is_written(nitransforms: Any, tmp_path: Path) -> None:
    from nitransforms.io.itk import ITKCompositeH5

    write_composite(tmp_path / "composite.h5", chain())
    affine, field = ITKCompositeH5.from_filename(tmp_path / "composite.h5")
    np.testing.assert_allclose(affine.to_ras(), matrix(), atol=1e-6)
    np.testing.assert_allclose(field.affine, warp().grid.affine, atol=1e-6)
    np.testing.assert_array_equal(np.squeeze(field.dataobj), warp().displacement_mm)


def test_bad_files(tmp_path: Path) -> None:
    path = tmp_path / "bad.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(TransformError, match="cannot be read"):
        read_composite(path)
    with pytest.raises(TransformError, match="no such file"):
        read_composite(tmp_path / "none.h5")
    for damage, message in {
        "no-group": "cannot be read",
        "empty": "holds no transform",
        "short": "do not fit each other",
        "nan": "NaN",
        "flat": "singular",
        "bspline": "BSplineTransform",
    }.items():
        write_composite(path, chain())
        with h5py.File(path, "a") as file:
            group = file["TransformGroup"]
            if damage == "no-group":
                del file["TransformGroup"]
            elif damage == "empty":
                del group["1"], group["2"]
            elif damage == "short":
                del group["2/TransformParameters"]
                group["2/TransformParameters"] = np.zeros(30)
            elif damage == "nan":
                group["2/TransformParameters"][5] = np.nan
            elif damage == "flat":
                group["2/TransformFixedParameters"][9:] = 0
            else:
                group["1/TransformType"][0] = "BSplineTransform_double_3_3"
        with pytest.raises(TransformError, match=message):
            read_composite(path)


def test_truncated_files(tmp_path: Path) -> None:
    whole = tmp_path / "whole.h5"
    write_composite(whole, chain())
    content = whole.read_bytes()
    for share in (0.05, 0.3, 0.6, 0.95):
        cut = tmp_path / "cut.h5"
        cut.write_bytes(content[: int(share * len(content))])
        with pytest.raises(TransformError):
            read_composite(cut)


def test_a_sheared_grid_is_refused(tmp_path: Path) -> None:
    affine = np.diag([1.0, 2, 3, 1])
    affine[0, 1] = 0.5
    step = warp(Grid((4, 5, 6), affine))
    with pytest.raises(TransformError, match="right angles"):
        write_composite(tmp_path / "sheared.h5", Chain((step,)))


def test_without_h5py(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingDependencyError, match=r"voxelmorph-deploy\[h5\]"):
        read_composite(tmp_path / "any.h5")
