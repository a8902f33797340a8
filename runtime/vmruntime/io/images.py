"""Reading scans and labels (NIfTI-1/2, MGH) and writing NIfTI."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from vmruntime.errors import ScanError, one_line
from vmruntime.grid import Grid
from vmruntime.volume import Volume

__all__ = ["Scan", "read_labels", "read_scan", "write_volume"]

Scan = str | os.PathLike[str] | SpatialImage | Volume
"""What the runtime takes for an image: a path, a nibabel image, or a Volume."""

# deflate cannot pack more than 1032 to 1: a header that promises more than that is damaged, and
# must not make us allocate what it promises.
MAX_GZIP_RATIO = 1040


def read_scan(source: Scan) -> Volume:
    """Read a scan as float32.

    Parameters
    ----------
    source
        NIfTI-1/2 or MGH file, nibabel image, or Volume. Trailing axes of length 1 are dropped;
        the header's scaling (``scl_slope``, ``scl_inter``) is applied.

    Returns
    -------
    Volume
        ``(D, H, W)`` float32, finite and not constant.

    Raises
    ------
    ScanError
        Missing, truncated or damaged file, unknown format, more than three axes, no affine or a
        singular one, NaN or infinite values, or the same value everywhere.
    """
    if isinstance(source, Volume):
        volume = source.with_data(np.asarray(source.data, dtype=np.float32))
    else:
        image, name = _open(source)
        volume = _volume(image, name, _data(image, name, np.float32))
    _check_values(volume)
    return volume


def read_labels(source: Scan) -> Volume:
    """Read a label image as integers.

    Parameters
    ----------
    source
        NIfTI-1/2 or MGH file, nibabel image, or Volume.

    Returns
    -------
    Volume
        ``(D, H, W)`` of the file's integer type. Labels stored as floating point or with a scaling
        come as int32.

    Raises
    ------
    ScanError
        As for `read_scan` (labels may be constant), or values that are not whole numbers.
    """
    if isinstance(source, Volume):
        return source.with_data(_as_labels(source.data, source.name))
    image, name = _open(source)
    return _volume(image, name, _as_labels(_data(image, name, None), name))


def write_volume(path: str | os.PathLike[str], volume: Volume) -> None:
    """Write a volume as NIfTI with its header's codes, units and description.

    Parameters
    ----------
    path
        ``.nii`` or ``.nii.gz``; overwritten.
    volume
        Its header, where it has a NIfTI one, says the version, qform and sform codes, units and
        description of the file.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    header = volume.header
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    if isinstance(header, nib.Nifti1Header):  # Nifti2Header is a subclass
        image = kind(volume.data, None, header)
        # The qform and sform of the header stay; the data's type and scaling are our own.
        image.header.set_slope_inter(1, 0)
        image.header["cal_min"] = image.header["cal_max"] = 0
        image.header["intent_code"] = 0
    else:
        image = kind(volume.data, volume.grid.affine)
        image.set_qform(volume.grid.affine, code=1)
        image.set_sform(volume.grid.affine, code=1)
        image.header.set_xyzt_units("mm")
    image.set_data_dtype(volume.data.dtype)
    nib.save(image, path)


def _open(source: str | os.PathLike[str] | SpatialImage) -> tuple[SpatialImage, str]:
    if isinstance(source, SpatialImage):
        return source, str(source.get_filename() or "image")
    if not isinstance(source, str | os.PathLike):
        raise ScanError(
            f"an image is given as a path, a nibabel image or a Volume, not {type(source).__name__}"
        )
    name = os.fspath(source)
    path = Path(name)
    if path.is_dir():
        raise ScanError(f"{name}: is a directory; give a NIfTI (.nii, .nii.gz) or MGH file")
    try:
        if path.stat().st_size == 0:
            raise ScanError(f"{name}: the file is empty; give a NIfTI (.nii, .nii.gz) or MGH file")
        return nib.load(path), name
    except FileNotFoundError:
        raise ScanError(f"{name}: no such file") from None
    except ScanError:
        raise
    except PermissionError as error:
        raise ScanError(f"{name}: cannot be read ({error.strerror})") from error
    # Damaged headers surface as many kinds of error inside nibabel; the fuzz test holds us to it.
    except Exception as error:
        raise ScanError(
            f"{name}: cannot be read as NIfTI (.nii, .nii.gz) or MGH (.mgh, .mgz): "
            f"{one_line(error)}"
        ) from error


def _data(image: SpatialImage, name: str, dtype: type | None) -> NDArray[Any]:
    """Voxels of an image, with trailing axes of length 1 dropped and the shape checked first."""
    if not isinstance(image, nib.Nifti1Pair | nib.MGHImage):  # Nifti1Image, Nifti2Image are pairs
        raise ScanError(
            f"{name}: is {type(image).__name__}; NIfTI (.nii, .nii.gz) or MGH (.mgh, .mgz) is "
            "needed: convert it first"
        )
    shape = tuple(int(n) for n in image.shape)
    if len(shape) > 3 and max(shape[3:]) > 1:
        raise ScanError(
            f"{name}: has {len(shape)} axes {shape}; a single 3-D scan is needed: extract one volume"
        )
    if len(shape) < 3 or min(shape) < 1:
        raise ScanError(f"{name}: has the shape {shape}; a 3-D scan is needed")
    stored = image.get_data_dtype()
    if stored.fields is not None or stored.kind not in "iuf":
        raise ScanError(f"{name}: holds {stored} values; a scan of real numbers is needed")
    _check_size(image, name, shape)
    try:
        proxy = image.dataobj
        data = np.asanyarray(proxy) if dtype is None else image.get_fdata(caching="unchanged", dtype=dtype)
    # zlib, gzip, mmap and nibabel each have their own errors for a file that ends early.
    except Exception as error:
        raise ScanError(
            f"{name}: its voxels cannot be read, the file is truncated or damaged "
            f"({one_line(error)}); copy it again"
        ) from error
    return np.asarray(data).reshape(shape[:3])


def _check_size(image: SpatialImage, name: str, shape: tuple[int, ...]) -> None:
    """Refuse a header that promises more voxels than its file can hold, before allocating."""
    filename = image.get_filename()
    if not filename or not nib.is_proxy(image.dataobj):
        return
    needed = int(np.prod(shape, dtype=object)) * image.get_data_dtype().itemsize
    size = os.path.getsize(filename)
    packed = str(filename).lower().endswith((".gz", ".mgz", ".bz2", ".zst"))
    if needed > size * (MAX_GZIP_RATIO if packed else 1):
        raise ScanError(
            f"{name}: the header promises {needed} bytes of voxels, more than the file can hold; "
            "it is truncated or damaged: copy it again"
        )


def _volume(image: SpatialImage, name: str, data: NDArray[Any]) -> Volume:
    header = image.header
    if isinstance(header, nib.Nifti1Header) and not (
        int(header["qform_code"]) or int(header["sform_code"])
    ):
        raise ScanError(
            f"{name}: has no affine (qform_code and sform_code are 0), so left and right are "
            "unknown; write one into the header"
        )
    try:
        grid = Grid(data.shape, image.affine)
    except ScanError as error:
        raise ScanError(f"{name}: {error}") from None
    return Volume(data, grid, header.copy(), name)


def _check_values(volume: Volume) -> None:
    low, high = float(volume.data.min()), float(volume.data.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = np.argwhere(~np.isfinite(volume.data))
        raise ScanError(
            f"{volume.name}: {len(bad)} voxels are NaN or infinite, the first at "
            f"{tuple(int(i) for i in bad[0])}; replace them first"
        )
    if low == high:
        raise ScanError(f"{volume.name}: every voxel is {low:g}; a scan is needed")


def _as_labels(data: NDArray[Any], name: str) -> NDArray[Any]:
    if data.dtype.kind in "iu":
        return data.astype(data.dtype.newbyteorder("="), copy=False)
    if data.dtype.kind == "b":
        return data.astype(np.uint8)
    if data.dtype.kind != "f" or not np.isfinite(data).all() or np.any(data != np.rint(data)):
        raise ScanError(
            f"{name}: labels must be whole numbers, these are not; give a segmentation, not "
            "probabilities or a scan"
        )
    if np.abs(data).max(initial=0) > np.iinfo(np.int32).max:
        raise ScanError(f"{name}: has labels beyond 32 bits stored as floating point")
    return data.astype(np.int32)
