"""FSL's and FreeSurfer's affines: by hand, and as nitransforms understands them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from vmruntime import Grid
from vmruntime.errors import TransformError
from vmruntime.io.affine_files import read_affine, write_affine
from worlds import FIXED, GRIDS, MOVING, applied, matrix, points, written

PRINTED_MM = 1e-4
"""nitransforms prints FSL's numbers with 8 decimals, which a voxel index of some 10 multiplies,
and reads LTA in single precision."""


def image(grid: Grid) -> Any:
    return nib.Nifti1Image(np.zeros(grid.shape, np.uint8), grid.affine)


def scaled_voxel(grid: Grid, index: NDArray[np.float64]) -> NDArray[np.float64]:
    """FSL's coordinates of one voxel, as its author words them."""
    place = index * grid.voxel_size
    if np.linalg.det(grid.affine) > 0:
        place[0] = (grid.shape[0] - 1 - index[0]) * grid.voxel_size[0]
    return place


def test_fsl_by_hand(tmp_path: Path) -> None:
    """From a 2 mm scan stored right to left to a 1 mm scan stored left to right.

    A flirt matrix that shifts by 3 mm along the array's first axis. The moving scan is stored with
    a negative determinant, so its x stands as it is: voxel (4, 0, 0) is at 8 mm, and 11 mm in the
    fixed scan. That one is mirrored, (19 - i) = 11: voxel i = 8.
    """
    moving = Grid((10, 12, 14), np.diag([-2.0, 2, 2, 1]))
    fixed = Grid((20, 24, 28), np.diag([1.0, 1, 1, 1]))
    path = written(tmp_path / "flirt.mat", "1 0 0 3\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    pull = read_affine(path, moving=moving, fixed=fixed)
    # Fixed voxel (8, 0, 0) is at 8 mm, moving voxel (4, 0, 0) at -8 mm.
    np.testing.assert_allclose(applied(pull, np.array([8.0, 0, 0])), [-8, 0, 0])
    np.testing.assert_allclose(applied(pull, np.array([8.0, 1, 2])), [-8, 1, 2])


@pytest.mark.parametrize("fixed", GRIDS)
@pytest.mark.parametrize("moving", GRIDS)
def test_fsl_matrix_maps_moving_to_fixed(tmp_path: Path, moving: str, fixed: str) -> None:
    source, target = GRIDS[moving], GRIDS[fixed]
    write_affine(tmp_path / "flirt.mat", matrix(), moving=source, fixed=target)
    flirt = np.loadtxt(tmp_path / "flirt.mat")
    for index in np.random.default_rng(2).uniform(0, 5, (10, 3)):
        there = applied(matrix(), applied(target.affine, index))
        voxel = applied(np.linalg.inv(source.affine), there)
        found = applied(flirt, scaled_voxel(source, voxel))
        np.testing.assert_allclose(found, scaled_voxel(target, index), atol=1e-8)


@pytest.mark.parametrize("fixed", GRIDS)
@pytest.mark.parametrize("moving", GRIDS)
def test_fsl_as_nitransforms(nitransforms: Any, tmp_path: Path, moving: str, fixed: str) -> None:
    from nitransforms.io.fsl import FSLLinearTransform

    source, target = GRIDS[moving], GRIDS[fixed]
    write_affine(tmp_path / "ours.mat", matrix(), moving=source, fixed=target)
    theirs = FSLLinearTransform.from_string((tmp_path / "ours.mat").read_text())
    found = theirs.to_ras(moving=image(source), reference=image(target))
    places = points(target)
    expected = applied(matrix(), places)
    np.testing.assert_allclose(applied(found, places), expected, atol=PRINTED_MM)
    text = FSLLinearTransform.from_ras(matrix(), image(source), image(target)).to_string()
    path = written(tmp_path / "theirs.mat", text)
    found = read_affine(path, moving=source, fixed=target)
    np.testing.assert_allclose(applied(found, places), expected, atol=PRINTED_MM)


def test_fsl_needs_both_grids(tmp_path: Path) -> None:
    path = written(tmp_path / "flirt.mat", "1 0 0 3\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    with pytest.raises(TransformError, match="the moving and fixed scan's grid"):
        read_affine(path)
    with pytest.raises(TransformError, match="the fixed scan's grid"):
        read_affine(path, moving=MOVING)


# Shift by 5 mm to the right, from a 2 mm scan in RAS to a 1 mm scan in LIA as FreeSurfer conforms.
# The centre is at voxel (16, 16, 16) and (128, 128, 128).
LTA = """\
# transform file {name}
# created by hand

type      = {kind} # {name}
nxforms   = 1
mean      = 0.0000 0.0000 0.0000
sigma     = 10000.0000
1 4 4
{rows}
src volume info
valid = {valid}  # volume info valid
filename = /a folder/moving.nii.gz
volume = 32 32 32
voxelsize = 2.000000000000000e+00 2.000000000000000e+00 2.000000000000000e+00
xras   = 1.0 0.0 0.0
yras   = 0.0 1.0 0.0
zras   = 0.0 0.0 1.0
cras   = 10.0 20.0 30.0
dst volume info
valid = 1  # volume info valid
filename = /b/orig.mgz
volume = 256 256 256
voxelsize = 1.0 1.0 1.0
xras   = -1.0 0.0 0.0
yras   = 0.0 0.0 -1.0
zras   = 0.0 1.0 0.0
cras   = 0.0 0.0 0.0
subject sub-01
fscale 0.100000
"""

RAS_ROWS = "1 0 0 5\n0 1 0 0\n0 0 1 0\n0 0 0 1"
# Moving voxel (16, 16, 16) is at (10, 20, 30), which goes to (15, 20, 30): 128 - 15 and so on.
VOXEL_ROWS = "-2 0 0 145\n0 0 -2 130\n0 2 0 116\n0 0 0 1"


def lta(kind: int, valid: int = 1) -> str:
    rows = RAS_ROWS if kind else VOXEL_ROWS
    name = "LINEAR_RAS_TO_RAS" if kind else "LINEAR_VOX_TO_VOX"
    return LTA.format(kind=kind, name=name, rows=rows, valid=valid)


@pytest.mark.parametrize("kind", [0, 1], ids=["voxels", "ras"])
def test_lta_by_hand(tmp_path: Path, kind: int) -> None:
    """It maps source to destination: a place in the fixed scan lies 5 mm to the left of it."""
    pull = read_affine(written(tmp_path / "by_hand.lta", lta(kind)))
    np.testing.assert_allclose(applied(pull, np.array([15.0, 20, 30])), [10, 20, 30], atol=1e-12)
    np.testing.assert_allclose(pull[:3, :3], np.eye(3), atol=1e-12)


def test_lta_without_geometry(tmp_path: Path) -> None:
    path = written(tmp_path / "invalid.lta", lta(0, valid=0))
    with pytest.raises(TransformError, match="lta_convert"):
        read_affine(path)
    source = np.diag([2.0, 2, 2, 1])
    source[:3, 3] = 10 - 32, 20 - 32, 30 - 32
    pull = read_affine(path, moving=Grid((32, 32, 32), source))
    np.testing.assert_allclose(pull[:3, 3], [-5, 0, 0], atol=1e-12)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("type      = 1", "type      = 14", "type 14"),
        ("nxforms   = 1", "nxforms   = 2", "2 transforms"),
        ("1 0 0 5", "0 0 0 5", "singular"),
        ("1 0 0 5", "1 0 x 5", "damaged"),
        ("dst volume info", "volume info", "damaged"),
        ("volume = 32 32 32", "volume = 32 32", "damaged"),
        ("xras   = 1.0", "xras   = 0.0", "damaged"),
    ],
)
def test_lta_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(TransformError, match=message):
        read_affine(written(tmp_path / "bad.lta", lta(1).replace(old, new)))


def test_lta_as_nitransforms(nitransforms: Any, tmp_path: Path) -> None:
    from nitransforms.io.lta import FSLinearTransform, FSLinearTransformArray, VolumeGeometry

    write_affine(tmp_path / "ours.lta", matrix(), moving=MOVING, fixed=FIXED)
    theirs = FSLinearTransform.from_string((tmp_path / "ours.lta").read_text())
    np.testing.assert_allclose(
        applied(theirs.to_ras(), points()), applied(matrix(), points()), atol=PRINTED_MM
    )
    for name, grid in (("src", MOVING), ("dst", FIXED)):
        found = VolumeGeometry(theirs[name]).as_affine()
        np.testing.assert_allclose(found, grid.affine, atol=PRINTED_MM)
    for kind in (0, 1):
        text = lta(kind).replace("/a folder/", "/folder/")  # they refuse a blank in a name
        theirs = FSLinearTransformArray.from_string(text)
        found = read_affine(written(tmp_path / "by_hand.lta", text))
        np.testing.assert_allclose(theirs.to_ras()[0], found, atol=PRINTED_MM)


def test_reads_what_nitransforms_ships(nitransforms: Any) -> None:
    """Files that its authors checked against FreeSurfer itself."""
    folder = Path(nitransforms.__file__).parent / "tests" / "data"
    if not (folder / "bold-to-t1w.lta").is_file():
        pytest.skip("nitransforms came without its test data")
    by_voxels = read_affine(folder / "bold-to-t1w.v2v.lta")
    by_ras = read_affine(folder / "bold-to-t1w.lta")
    # The file in voxels holds single precision.
    np.testing.assert_allclose(by_voxels, by_ras, atol=1e-3)
    for name in ("RAS", "LAS", "LPS", "oblique"):
        # Their test_linear.py: "Account for the fact that FS defines LTA transforms reversed".
        lta = np.linalg.inv(read_affine(folder / f"affine-{name}.fs.lta"))
        itk = read_affine(folder / f"affine-{name}.itk.tfm")
        np.testing.assert_allclose(lta, itk, atol=1e-4)
