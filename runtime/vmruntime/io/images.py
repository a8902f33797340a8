"""Reading scans and labels: NIfTI-1/2 and MGH."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, cast

import nibabel as nib
import numpy as np
from isal import igzip
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from vmruntime.errors import ScanError, one_line
from vmruntime.grid import Grid
from vmruntime.volume import Volume

__all__ = [
    "Scan",
    "open_image",
    "read_labels",
    "read_scan",
    "read_voxels",
    "volume_of",
]

Scan = str | os.PathLike[str] | SpatialImage | Volume
"""What the runtime takes for an image: a path, a nibabel image, or a Volume."""

SPACE_UNITS = 7
"""Bits of a NIfTI header's ``xyzt_units`` that are about space."""

MM = 2
"""NIfTI's code of millimetres."""

MILLIMETRES = {1: 1e3, 3: 1e-3}
"""NIfTI's codes of metres and micrometres; every other code is taken for millimetres."""

# deflate cannot pack more than 1032 to 1: a header that promises more than that is damaged, and
# must not make us allocate what it promises.
MAX_GZIP_RATIO = 1040

EXACT = ("u1", "i1", "u2", "i2")
"""Types of integers that float32 holds exactly."""

BLOCK = 32
"""Voxels along each side of what is put in order at a time."""

LARGEST_VALUE = 1e12
"""Squares of larger voxel values, summed up, leave the range of float32."""


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
        ``(D, H, W)`` float32, finite and not constant; the file's small integers as `stored`.

    Raises
    ------
    ScanError
        Missing, truncated or damaged file, unknown format, more than three axes, no affine or a
        singular one, NaN or infinite values, or the same value everywhere.
    """
    if isinstance(source, Volume):
        with np.errstate(over="ignore"):  # becomes infinite, which is refused below
            volume = source.with_data(np.asarray(source.data, dtype=np.float32))
        stored = source.data if _is_exact(source.data.dtype) else source.stored
    else:
        image, name = open_image(source)
        stored = None
        if isinstance(source, str | os.PathLike) and _is_unscaled(image):
            stored = _in_c_order(_data(image, name, None))
            data = stored.astype(np.float32)
        else:
            data = _in_c_order(_data(image, name, np.float32))
        volume = volume_of(image, name, data)
    _check_values(volume)
    return volume if stored is None else replace(volume, stored=stored)


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
    image, name = open_image(source)
    return volume_of(image, name, _as_labels(_data(image, name, None), name))


def open_image(source: str | os.PathLike[str] | SpatialImage) -> tuple[SpatialImage, str]:
    """Open an image without reading its voxels, and say what messages call it."""
    if isinstance(source, SpatialImage):
        return source, str(source.get_filename() or "image")
    if not isinstance(source, str | os.PathLike):
        raise ScanError(
            f"an image is given as a path, a nibabel image or a Volume, not {type(source).__name__}"
        )
    name = os.fspath(source)
    path = Path(name)
    try:
        if path.is_dir():
            raise ScanError(f"{name}: is a directory; give a NIfTI (.nii, .nii.gz) or MGH file")
        if path.stat().st_size == 0:
            raise ScanError(f"{name}: the file is empty; give a NIfTI (.nii, .nii.gz) or MGH file")
        with _quietly():
            return _load(path), name
    except FileNotFoundError:
        raise ScanError(f"{name}: no such file; check the path") from None
    except (ScanError, MemoryError):
        raise
    # Damaged headers surface as many kinds of error inside nibabel; the fuzz test holds us to it.
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise ScanError(f"{name}: cannot be read ({error.strerror}); check the path") from error
        raise ScanError(
            f"{name}: cannot be read as NIfTI (.nii, .nii.gz) or MGH (.mgh, .mgz): "
            f"{one_line(error)}"
        ) from error


def _in_c_order(data: NDArray[Any]) -> NDArray[Any]:
    """Voxels as everything after reading wants them; files have the first axis run fastest.

    In blocks that fit the cache for both orders: a third of the time of numpy's own copy.
    """
    if data.flags.c_contiguous:
        return np.asarray(data)
    ordered = np.empty(data.shape, data.dtype)
    for i in range(0, data.shape[0], BLOCK):
        for k in range(0, data.shape[2], BLOCK):
            part = slice(i, i + BLOCK), slice(None), slice(k, k + BLOCK)
            ordered[part] = data[part]
    return ordered


def _is_exact(dtype: np.dtype[Any]) -> bool:
    return dtype.isnative and dtype.str[1:] in EXACT


def _is_unscaled(image: SpatialImage) -> bool:
    """Whether a file's voxels are small integers that mean themselves."""
    scale = getattr(image.dataobj, "slope", 0), getattr(image.dataobj, "inter", 0)
    return scale == (1, 0) and _is_exact(image.get_data_dtype())


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep nibabel from printing what it finds in a header; what it cannot repair it raises."""

    def drop(_: logging.LogRecord) -> bool:
        return False

    logger = nib.imageglobals.logger
    logger.addFilter(drop)  # a new function each time, so that threads do not disturb each other
    try:
        yield
    finally:
        logger.removeFilter(drop)


def _load(path: Path) -> SpatialImage:
    """An image whose header was read."""
    suffix = path.suffix.lower()
    if suffix not in (".mgh", ".mgz"):
        return cast(SpatialImage, nib.load(path))
    # nib.load leaves these open, and reads them to a footer behind the voxels: a little further
    # stands gzip's checksum.
    with igzip.open(path) if suffix == ".mgz" else open(path, "rb") as stream:
        image: Any = nib.MGHImage.from_stream(cast(Any, stream))
        _read_to_end(stream)
    image.dataobj.file_like = str(path)
    return cast(SpatialImage, image)


def _read_to_end(stream: IO[bytes] | igzip.IGzipFile) -> None:
    while stream.read(1 << 20):
        pass


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
            f"{name}: has {len(shape)} axes {shape}; a single 3-D scan is needed: "
            "extract one volume"
        )
    if len(shape) < 3 or min(shape) < 1:
        raise ScanError(f"{name}: has the shape {shape}; a 3-D scan is needed")
    stored = image.get_data_dtype()
    if stored.fields is not None or stored.kind not in "iuf":
        raise ScanError(f"{name}: holds {stored} values; a scan of real numbers is needed")
    return read_voxels(image, name, dtype).reshape(shape[:3])


def read_voxels(image: SpatialImage, name: str, dtype: type | None) -> NDArray[Any]:
    """Read all voxels, scaled as the header says, and the checksum behind them.

    Raises
    ------
    ScanError
        The file is truncated or damaged.
    """
    _check_size(image, name)
    try:
        # A value that overflows becomes infinite, which is refused later.
        with np.errstate(over="ignore", invalid="ignore"), _quietly():
            return _voxels(image, dtype)
    except MemoryError:
        raise
    # zlib, gzip, mmap and nibabel each have their own errors for a file that ends early.
    except Exception as error:
        raise ScanError(
            f"{name}: its voxels cannot be read, the file is truncated or damaged "
            f"({one_line(error)}); copy it again"
        ) from error


def _voxels(image: Any, dtype: type | None) -> NDArray[Any]:
    filename = _file(image)
    if filename and filename.lower().endswith(".gz") and isinstance(image, nib.Nifti1Image):
        # gzip's checksum stands behind the voxels, where nibabel never looks.
        with igzip.open(filename) as stream:
            data = _array(type(image).from_stream(stream), dtype)
            _read_to_end(stream)
        return data
    return _array(image, dtype)


def _array(image: Any, dtype: type | None) -> NDArray[Any]:
    if dtype is None:
        return np.asarray(image.dataobj)
    return np.asarray(image.get_fdata(caching="unchanged", dtype=dtype))


def _file(image: Any) -> str | None:
    """The file that the voxels still have to be read from, if there is one."""
    name = getattr(image.dataobj, "file_like", None) if nib.is_proxy(image.dataobj) else None
    return name if isinstance(name, str) else None


def _check_size(image: SpatialImage, name: str) -> None:
    """Refuse a header that promises more voxels than its file can hold, before allocating."""
    filename = _file(image)
    if not filename or not Path(filename).is_file():
        return
    needed = (
        int(np.prod([int(n) for n in image.shape], dtype=object)) * image.get_data_dtype().itemsize
    )
    size = Path(filename).stat().st_size
    packed = filename.lower().endswith((".gz", ".mgz", ".bz2", ".zst"))
    if needed > size * (MAX_GZIP_RATIO if packed else 1):
        raise ScanError(
            f"{name}: the header promises {needed} bytes of voxels, more than the file can hold; "
            "it is truncated or damaged: copy it again"
        )


def volume_of(image: SpatialImage, name: str, data: NDArray[Any]) -> Volume:
    """Put voxels on the grid that an image's header states; `ScanError` where it states none."""
    header: Any = image.header.copy()
    affine = image.affine
    factor = 1.0
    if isinstance(header, nib.Nifti1Header):
        if not (int(header["qform_code"]) or int(header["sform_code"])):
            raise ScanError(
                f"{name}: has no affine (qform_code and sform_code are 0), so left and right are "
                "unknown; write one into the header"
            )
        if affine is None:  # an image in memory may leave it to its header
            affine = header.get_best_affine()
        affine = np.array(affine, np.float64)
        units = int(header["xyzt_units"])
        factor = MILLIMETRES.get(units & SPACE_UNITS, 1.0)
        affine[:3] *= factor
    try:
        grid = Grid(data.shape, affine)
    except ScanError as error:
        raise ScanError(f"{name}: {error}") from None
    if factor != 1:
        # Or a file that takes this header over would give millimetres for another unit.
        header["xyzt_units"] = units & ~SPACE_UNITS | MM
        header.set_qform(grid.affine, code=int(header["qform_code"]))
        header.set_sform(grid.affine, code=int(header["sform_code"]))
    return Volume(data, grid, header, name)


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
    if max(-low, high) > LARGEST_VALUE:
        raise ScanError(
            f"{volume.name}: its values reach {max(-low, high):.3g}, no scan's exceed "
            f"{LARGEST_VALUE:g}; repair the voxels or the header's scaling"
        )


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
    if data.size and max(-float(data.min()), float(data.max())) > np.iinfo(np.int32).max:
        raise ScanError(f"{name}: has labels beyond 32 bits stored as floating point")
    return data.astype(np.int32)
