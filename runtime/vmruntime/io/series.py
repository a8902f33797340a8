"""Reading and writing images of one or several volumes, and reading the grid of an image."""

from __future__ import annotations

import os
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from vmruntime.errors import ScanError
from vmruntime.grid import Grid
from vmruntime.io.images import open_image, read_labels, read_voxels, volume_of
from vmruntime.io.nifti import save_image, write_volume
from vmruntime.series import Series
from vmruntime.volume import Volume

__all__ = ["read_grid", "read_series", "write_series"]


def read_grid(path: str | os.PathLike[str]) -> Grid:
    """Read only where an image's voxels lie.

    Parameters
    ----------
    path
        NIfTI or MGH file; of more than three axes the first three count.

    Raises
    ------
    ScanError
        Missing or damaged file, unknown format, fewer than three axes, no affine.
    """
    image, name = open_image(path)
    return _placed(image, name).grid


def read_series(path: str | os.PathLike[str], *, labels: bool = False) -> Series:
    """Read an image of three or four axes.

    Parameters
    ----------
    path
        NIfTI or MGH file.
    labels
        Whether the values must be whole numbers.

    Returns
    -------
    Series
        Integers keep the file's type; real numbers, and integers with a scaling in the header,
        come as float32, or as int32 where `labels` is set.

    Raises
    ------
    ScanError
        Missing, truncated or damaged file, unknown format, more than four axes, no affine, NaN
        or infinite values, or values that are not whole numbers where `labels` is set.
    """
    image, name = open_image(path)
    placed = _placed(image, name)
    shape = tuple(int(n) for n in image.shape)
    if len(shape) > 4 and max(shape[4:]) > 1:
        raise ScanError(
            f"{name}: has {len(shape)} axes {shape}; an image of 3 or 4 axes is needed (a "
            "displacement field is given as a transform)"
        )
    if image.get_data_dtype().kind not in "iuf":
        raise ScanError(f"{name}: holds {image.get_data_dtype()} values; real numbers are needed")
    data = read_voxels(image, name, None)
    series = Series(_values(data, name).reshape(*shape[:3], -1), placed.grid, placed.header, name)
    if not labels:
        return series
    # A label image of several volumes is rare and small; the common reader checks each.
    whole = [read_labels(series.volume(number)).data for number in range(series.data.shape[3])]
    return Series(np.stack(whole, axis=-1), series.grid, series.header, name)


def write_series(path: str | os.PathLike[str], series: Series) -> None:
    """Write an image as NIfTI, with four axes where it has several volumes.

    Parameters
    ----------
    path
        ``.nii`` or ``.nii.gz``; overwritten.
    series
        Its header says the time step, units, description and form codes. What a header says of
        slices and their timing is left out: it does not hold on another grid.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    if series.data.shape[3] == 1:
        write_volume(path, series.volume(0))
        return
    old = series.header
    kind: Any = nib.Nifti2Image if isinstance(old, nib.Nifti2Header) else nib.Nifti1Image
    image = kind(series.data, series.grid.affine, dtype=series.data.dtype)
    codes, units, step = (1, 1), ("mm", "unknown"), 1.0
    if isinstance(old, nib.Nifti1Header):  # Nifti2Header is a subclass
        codes = int(old["qform_code"]) or 1, int(old["sform_code"]) or 1
        units, step = old.get_xyzt_units(), float(old["pixdim"][4])
        for field in ("descrip", "toffset"):
            image.header[field] = old[field]
    elif isinstance(old, nib.freesurfer.mghformat.MGHHeader):
        units, step = ("mm", "msec"), float(old["tr"])
    image.header.set_xyzt_units(*units)
    image.header["pixdim"][4] = step
    image.set_qform(series.grid.affine, code=codes[0])
    image.set_sform(series.grid.affine, code=codes[1])
    save_image(image, path)


def _placed(image: SpatialImage, name: str) -> Volume:
    """A volume of nothing where the image's voxels lie, with its header: affine checked."""
    shape = tuple(int(n) for n in image.shape)
    if len(shape) < 3 or min(shape) < 1:
        raise ScanError(f"{name}: has the shape {shape}; an image of 3 axes is needed")
    return volume_of(image, name, np.broadcast_to(np.uint8(0), shape[:3]))


def _values(data: NDArray[Any], name: str) -> NDArray[Any]:
    """Finite values in this machine's byte order, real numbers as float32."""
    if data.dtype.kind in "iu":
        return data.astype(data.dtype.newbyteorder("="), copy=False)
    with np.errstate(over="ignore"):  # becomes infinite, which is refused
        values = data.astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        raise ScanError(
            f"{name}: {np.count_nonzero(~np.isfinite(values))} voxels are NaN or infinite; "
            "replace them first"
        )
    return values
