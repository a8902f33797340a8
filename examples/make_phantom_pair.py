"""Write the phantom pair that ships with the examples: two subjects with their labels.

The output is the same byte for byte on every run, so the committed files can be checked.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from phantom import make_pair

SHAPE = (80, 96, 112)
SPACING = 2.0
SEED = 2026


def lia_affine(shape: tuple[int, int, int], spacing: float) -> NDArray[np.float64]:
    """Return the voxel-to-world matrix of a LIA grid centred on the world origin.

    Parameters
    ----------
    shape : tuple of int
        Grid.
    spacing : float
        Voxel edge in millimetres.

    Returns
    -------
    ndarray, float64, (4, 4)
        Affine to RAS millimetres.
    """
    affine = np.zeros((4, 4))
    affine[0, 0], affine[1, 2], affine[2, 1] = -spacing, spacing, -spacing
    centre = (np.array(shape) - 1) / 2
    affine[:3, 3] = -affine[:3, :3] @ centre
    affine[3, 3] = 1
    return affine


def write_nifti(path: Path, volume: NDArray[np.generic], affine: NDArray[np.float64]) -> None:
    """Write a gzip-compressed NIfTI-1 file without a time stamp or a file name in it."""
    image = nib.Nifti1Image(volume, affine)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    image.header.set_xyzt_units("mm")
    packed = gzip.compress(image.to_bytes(), compresslevel=9, mtime=0)
    path.write_bytes(packed)


def main() -> None:
    """Write moving, fixed and their label maps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "phantom")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    pair = make_pair(SHAPE, SEED, spacing=SPACING)
    affine = lia_affine(SHAPE, SPACING)
    for name in ("moving", "fixed"):
        image = np.rint(np.clip(getattr(pair, name), 0, 255)).astype(np.uint8)
        write_nifti(args.out / f"{name}.nii.gz", image, affine)
        labels = getattr(pair, f"{name}_labels").astype(np.uint8)
        write_nifti(args.out / f"{name}_labels.nii.gz", labels, affine)


if __name__ == "__main__":
    main()
