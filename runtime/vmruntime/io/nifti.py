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
    # Without name and time, which would make equal images different files.
    with (
        open(path, "wb") as file,
        _Packed(  # type: ignore[no-untyped-call]
            "", "wb", compresslevel=compression, fileobj=file, mtime=0
        ) as packed,
    ):
        image.to_stream(packed)


class _Packed(igzip.IGzipFile):
    """A gzip file whose packed data depend on what is written to it, and on nothing else.

    ISA-L packs ten times as fast as gzip at its fastest and to the same size, but begins a stream
    by hashing where it lies in memory instead of its third byte (``.write_first_byte`` of its
    igzip_icf_body_h1_gr_bt.asm), and packs one scan in some hundreds otherwise for it. `BEGINNING`
    bytes and a flush go another way.
    """

    BEGINNING = 16
    _begun = False

    def write(self, data: Any) -> int:
        begun = 0
        if len(data) and not self._begun:
            self._begun = True
            begun = self.write(data[: self.BEGINNING])
            self.flush()
            data = data[self.BEGINNING :]
        return begun + int(super().write(data))  # type: ignore[no-untyped-call]
