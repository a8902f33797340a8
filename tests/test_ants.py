"""ANTs itself applies the transforms that are written here.

antspyx asks for an older numpy than the one this project is tested with, so it gets an environment
of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from synthetic_scans import parcellation, smooth_displacement, textured, write_nifti
from vmruntime import Displacement, Grid, Transform, Volume
from vmruntime.io.affine_files import write_affine
from vmruntime.io.images import read_labels, read_scan
from vmruntime.io.transform_files import write_transform

ANTSPYX = "antspyx==0.6.3"
SHAPE, FIXED_SHAPE = (34, 28, 40), (30, 36, 26)
OBLIQUE = np.array([[0.2, -1.4, 0.1, 30], [1.1, 0.3, 0.2, -18], [0.1, 0.2, 1.9, -20], [0, 0, 0, 1]])

# ITK clamps half a voxel at the border where zeros are blended in: the interior is compared.
INTERIOR = (slice(3, -3),) * 3
IMAGE = 1e-3
"""Share of the intensity range; both are trilinear, in float32 and float64."""

SCRIPT = """
import sys, ants
fixed, moving, labels, out, *transforms = sys.argv[1:]
grid = ants.image_read(fixed)
for name, path, how in (("image", moving, "linear"), ("labels", labels, "nearestNeighbor")):
    image = ants.image_read(path).clone("float")
    carried = ants.apply_transforms(grid, image, transforms, interpolator=how)
    ants.image_write(carried, f"{out}/by_ants_{name}.nii")
"""


@pytest.fixture(scope="module")
def ants_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has antspyx."""
    folder = tmp_path_factory.mktemp("ants")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    command = [python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", ANTSPYX]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(f"{ANTSPYX} cannot be installed here: {found.stderr.strip()[-200:]}")
    return python


@pytest.mark.parametrize("kind", ["field", "composite"])
def test_ants_carries_image_and_labels_alike(ants_python: Path, tmp_path: Path, kind: str) -> None:
    # Moving scan LIA at 1.5 mm, fixed scan oblique and anisotropic, model grid in between.
    moving_affine = np.array([[-1.5, 0, 0, 25], [0, 0, 1.5, -28], [0, -1.5, 0, 22], [0, 0, 0, 1]])
    write_nifti(tmp_path / "moving.nii", textured(SHAPE), moving_affine)
    write_nifti(tmp_path / "labels.nii", parcellation(SHAPE), moving_affine)
    orthogonal, scale = np.linalg.qr(OBLIQUE[:3, :3])
    fixed_affine = OBLIQUE.copy()
    fixed_affine[:3, :3] = orthogonal * np.diag(scale)
    middle = np.array(FIXED_SHAPE) / 2
    fixed_affine[:3, 3] = -fixed_affine[:3, :3] @ middle
    write_nifti(tmp_path / "fixed.nii", textured(FIXED_SHAPE), fixed_affine)
    moving, labels = read_scan(tmp_path / "moving.nii"), read_labels(tmp_path / "labels.nii")
    model = Grid(SHAPE, np.diag([-1.4, -1.6, 1.5, 1]) @ np.eye(4))
    model = Grid(SHAPE, model.affine + np.c_[np.zeros((4, 3)), [24, 22, -29, 0]])
    affine = np.array(
        [[0.98, 0.1, 0, 2], [-0.1, 1.02, 0.05, -1], [0, -0.04, 0.97, 1], [0, 0, 0, 1]]
    )
    field = Displacement(smooth_displacement(SHAPE, 1.5), model)
    transform = Transform(Grid(FIXED_SHAPE, fixed_affine), moving.grid, affine, field)

    if kind == "field":
        written = [tmp_path / "warp.nii.gz"]
        write_transform(written[0], transform)
    else:
        # ANTs reads the parts of a composite as separate files: the warp, then the affine.
        written = [tmp_path / "deformation.nii.gz", tmp_path / "affine.txt"]
        alone = Transform(transform.fixed, transform.fixed, np.eye(4), field)
        write_transform(written[0], alone)
        write_affine(written[1], affine, moving=moving.grid, fixed=transform.fixed)
    names = [tmp_path / name for name in ("fixed.nii", "moving.nii", "labels.nii")]
    command = [ants_python, "-c", SCRIPT, *names, tmp_path, *written]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    image = nib.load(tmp_path / "by_ants_image.nii").get_fdata(dtype=np.float32)
    carried = np.asanyarray(nib.load(tmp_path / "by_ants_labels.nii").dataobj)

    ours: Volume = transform.apply(moving)
    span = float(moving.data.max() - moving.data.min())
    assert (ours.data[INTERIOR] != 0).mean() > 0.5, "the scans overlap"
    assert np.abs(image - ours.data)[INTERIOR].max() < IMAGE * span
    same = carried.astype(int) == transform.apply(labels, "nearest").data
    assert same[INTERIOR].mean() > 0.9999
