"""Writing volumes as NIfTI."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from isal import isal_zlib

from vmruntime.io.nifti import save_image


def scattered() -> nib.Nifti1Image:
    """Six bytes here and there in zeros: ISA-L by itself packs one in twenty of these otherwise."""
    rng = np.random.default_rng(0)
    voxels = np.zeros(1 << 21, np.uint8)
    for place in rng.integers(0, voxels.size - 6, 1000):
        voxels[place : place + 6] = rng.integers(0, 256, 6)
    return nib.Nifti1Image(voxels.reshape((128, 128, 128), order="F"), np.eye(4))


@pytest.mark.parametrize("level", range(4))
def test_the_same_bytes_wherever_the_stream_lies(tmp_path: Path, level: int) -> None:
    image = scattered()
    path = tmp_path / "image.nii.gz"
    held, seen = [], set()
    for _ in range(200):
        # What is held pushes the next stream to a place of its own.
        held.append(isal_zlib.compressobj(level))
        save_image(image, path, level)
        seen.add(path.read_bytes())
    assert len(seen) == 1
    assert np.array_equal(np.asarray(nib.load(path).dataobj), np.asarray(image.dataobj))
