"""Writing volumes as NIfTI."""

from __future__ import annotations

import os
from typing import Any

import nibabel as nib
import numpy as np
from isal import igzip

from vmruntime.volume import Volume

__all__ = ["COMPRESSION", "save_image", "write_volume"]

COMPRESSION = 1
"""Level that files are packed with unless another is asked for."""

FLOAT32 = 1e-6
"""Affines that differ by less are the same one, rounded to a header's single precision."""


def write_volume(
    path: str | os.PathLike[str], volume: Volume, compression: int = COMPRESSION
) -> None:
    """Write a volume as NIfTI with its header's codes, units and description.

    Parameters
    ----------
    path
        ``.nii`` or ``.nii.gz``; overwritten.
    volume
        Its header, where it has a NIfTI one, says the version, qform and sform codes, units and
        description of the file; its grid says where the voxels lie.
    compression
        See `save_image`.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    header, affine = volume.header, volume.grid.affine
    kind: Any = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    if isinstance(header, nib.Nifti1Header):  # Nifti2Header is a subclass
        if not header.is_single:
            # From a .hdr and .img pair: nibabel's own conversion would forget where it lies.
            header = kind.header_class(header.binaryblock, header.endianness, check=False)
        image = kind(volume.data, None, header, dtype=volume.data.dtype)
        # The qform and sform of the header stay; the data's type and scaling are our own.
        image.header.set_slope_inter(1, 0)
        image.header["cal_min"] = image.header["cal_max"] = 0
        image.header["intent_code"] = 0
        codes = int(header["qform_code"]) or 1, int(header["sform_code"]) or 1
        stale = not np.allclose(image.header.get_best_affine(), affine, rtol=FLOAT32, atol=FLOAT32)
    else:
        image = kind(volume.data, affine, dtype=volume.data.dtype)
        image.header.set_xyzt_units("mm")
        codes, stale = (1, 1), True
    if stale:
        image.set_qform(affine, code=codes[0])
        image.set_sform(affine, code=codes[1])
    image.set_data_dtype(volume.data.dtype)
    save_image(image, path, compression)


def save_image(
    image: nib.Nifti1Image, path: str | os.PathLike[str], compression: int = COMPRESSION
) -> None:
    """Write a NIfTI image, packed where the name ends in ``.gz``; the same bytes every time.

    Parameters
    ----------
    image
        What to write.
    path
        ``.nii`` or ``.nii.gz``; overwritten.
    compression
        Level of isal, 0 (fastest) to 3 (smallest).

    Raises
    ------
    OSError
        The file cannot be written.
    """
    if not os.fspath(path).lower().endswith(".gz"):
        nib.save(image, path)
        return
    # Ten times as fast as gzip at its fastest, and files of the same size. Without name and time,
    # which would make equal images different files.
    with (
        open(path, "wb") as file,
        igzip.IGzipFile("", "wb", compresslevel=compression, fileobj=file, mtime=0) as packed,
    ):
        image.to_stream(packed)
