"""Reading an image plane by plane, so that many can be open at once."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

import nibabel as nib
import numpy as np
from isal import igzip
from numpy.typing import NDArray

from vmruntime.errors import ScanError, one_line
from vmruntime.grid import Grid

__all__ = ["PlaneReader", "RollingPlanes"]


class PlaneReader:
    """A NIfTI image that this project wrote, read once from its first plane to its last.

    A context manager. Planes lie along the last array axis, as they follow each other in the file.

    Parameters
    ----------
    path
        ``.nii`` or ``.nii.gz``.

    Raises
    ------
    ScanError
        It cannot be read, is not three-dimensional, or its values are scaled.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stack = ExitStack()
        try:
            self._file = self._stack.enter_context(_open(path))
            self._begin()
        except BaseException:
            self._stack.close()
            raise

    def _begin(self) -> None:
        try:
            header: Any = nib.Nifti1Header.from_fileobj(self._file, check=False)
            if int(header["sizeof_hdr"]) != 348:
                self._file.seek(0)
                header = nib.Nifti2Header.from_fileobj(self._file, check=False)
            self.dtype = cast("np.dtype[Any]", header.get_data_dtype())
            shape, scale = header.get_data_shape(), header.get_slope_inter()
            self._file.seek(int(header.get_data_offset()))
        except (OSError, EOFError, ValueError, nib.spatialimages.HeaderDataError) as error:
            raise ScanError(f"{self.path}: cannot be read ({one_line(error)})") from error
        if len(shape) != 3 or scale not in ((None, None), (1.0, 0.0)):
            raise ScanError(f"{self.path}: is no three-dimensional image of plain values")
        self.grid = Grid(tuple(int(n) for n in shape), header.get_best_affine())
        self._left = self.grid.shape[2]

    def read(self, count: int) -> NDArray[Any]:
        """The next planes, ``(D, H, n)``; fewer than `count` at the end.

        Raises
        ------
        ScanError
            The file is damaged or ends too early.
        """
        count = min(count, self._left)
        rows, columns, _ = self.grid.shape
        wanted = rows * columns * count * self.dtype.itemsize
        try:
            content = self._file.read(wanted)
        except (OSError, EOFError) as error:
            raise ScanError(f"{self.path}: is damaged ({one_line(error)})") from error
        if len(content) != wanted:
            raise ScanError(f"{self.path}: ends too early; register the pair again")
        self._left -= count
        planes = np.frombuffer(content, self.dtype).reshape((rows, columns, count), order="F")
        return planes.astype(self.dtype.newbyteorder("="), copy=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()


class RollingPlanes:
    """Blocks of an image that overlap, from a reader that goes forward only.

    Parameters
    ----------
    reader
        Nothing was read of it yet.
    margin
        How many planes more, at both ends, are wanted around a block.
    """

    def __init__(self, reader: PlaneReader, margin: int) -> None:
        self._reader = reader
        self._margin = margin
        self._first = 0
        self._held = reader.read(0)

    def around(self, start: int, stop: int) -> NDArray[Any]:
        """Planes ``start - margin`` to ``stop + margin``, cut at the ends of the image.

        Blocks must be asked for in order. Raises `ScanError` as `PlaneReader.read` does.
        """
        first = max(start - self._margin, 0)
        missing = stop + self._margin - self._first - self._held.shape[2]
        kept = self._held[..., first - self._first :]
        self._held = np.concatenate([kept, self._reader.read(max(missing, 0))], axis=2)
        self._first = first
        return self._held


def _open(path: Path) -> IO[bytes]:
    try:
        if path.name.lower().endswith(".gz"):
            return cast(IO[bytes], igzip.open(path, "rb"))
        return open(path, "rb")
    except OSError as error:
        raise ScanError(f"{path}: cannot be read ({error.strerror})") from error
