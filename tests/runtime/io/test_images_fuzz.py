"""Whatever stands in a NIfTI or MGH file, it is read or refused: nothing else happens."""

from __future__ import annotations

import contextlib
import gzip
import io
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from synthetic_scans import affine_of, textured
from vmruntime import ScanError, Volume
from vmruntime.io.images import read_labels, read_scan

SHAPE = (4, 3, 5)

MOST_MEMORY = 32 << 20
"""Bytes; the files hold 300 voxels at most."""


def nifti_bytes(kind: Any = nib.Nifti1Image, dtype: type = np.int16) -> bytes:
    image = kind(textured(SHAPE, maximum=100).astype(dtype), affine_of())
    return bytes(image.to_bytes())


NIFTI1, NIFTI2 = nifti_bytes(), nifti_bytes(nib.Nifti2Image, np.float32)
MGH = nib.MGHImage(textured(SHAPE), affine_of()).to_bytes()

NAMES = {".nii": NIFTI1, ".NII": NIFTI2, ".nii.gz": NIFTI1, ".mgh": MGH, ".mgz": MGH}


def read_or_refuse(content: bytes, suffix: str) -> None:
    """Write, read as scan and as labels; a result is valid, an error is one line with the name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"fuzz{suffix}"
        path.write_bytes(content)
        for reader in (read_scan, read_labels):
            # nibabel may say on stderr what it repaired.
            with contextlib.redirect_stderr(io.StringIO()):
                try:
                    volume = reader(path)
                except ScanError as error:
                    text = str(error)
                    if not text.startswith(f"{path}: ") or "\n" in text:
                        raise AssertionError(text) from error
                else:
                    check(volume, reader is read_scan)


def check(volume: Volume, scan: bool) -> None:
    assert volume.data.shape == volume.grid.shape
    assert volume.data.dtype.isnative
    assert len(volume.grid.orientation) == 3
    assert np.isfinite(volume.grid.corners).all()
    if scan:
        assert volume.data.dtype == np.float32
        assert np.isfinite(volume.data).all()
        assert volume.data.min() < volume.data.max()
    else:
        assert volume.data.dtype.kind in "iu"
    # What can be read can be written and read again.
    with tempfile.TemporaryDirectory() as folder:
        volume.save(Path(folder) / "copy.nii")
        again = (read_scan if scan else read_labels)(Path(folder) / "copy.nii")
        np.testing.assert_array_equal(again.data, volume.data)
        assert again.data.dtype == volume.data.dtype
        assert again.grid.matches(volume.grid)


@pytest.mark.parametrize("suffix", NAMES)
def test_the_seeds_are_valid(suffix: str) -> None:
    content = gzip.compress(NAMES[suffix]) if suffix.endswith("z") else NAMES[suffix]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"seed{suffix}"
        path.write_bytes(content)
        check(read_scan(path), scan=True)


@given(st.sampled_from(sorted(NAMES)), st.binary(max_size=700))
def test_any_bytes(suffix: str, content: bytes) -> None:
    read_or_refuse(content or b"\0", suffix)


@given(st.sampled_from(sorted(NAMES)), st.data())
def test_changed_bytes(suffix: str, data: st.DataObject) -> None:
    """In the file as it is, or, for packed files, before packing."""
    seed = NAMES[suffix]
    packed = suffix.endswith("z")
    inside = packed and data.draw(st.booleans())
    content = bytearray(seed if inside or not packed else gzip.compress(seed, mtime=0))
    for _ in range(data.draw(st.integers(1, 6))):
        # Most of the time in the header, where it matters.
        last = min(len(content), data.draw(st.sampled_from([len(content), 352]))) - 1
        content[data.draw(st.integers(0, last))] = data.draw(st.integers(0, 255))
    read_or_refuse(gzip.compress(content) if inside else bytes(content), suffix)


@given(st.sampled_from(sorted(NAMES)), st.data())
def test_truncated(suffix: str, data: st.DataObject) -> None:
    seed = NAMES[suffix]
    content = gzip.compress(seed) if suffix.endswith("z") else seed
    read_or_refuse(content[: data.draw(st.integers(1, len(content) - 1))], suffix)


EXTREME = [0, 1, 2, 3, 7, 255, 2**15 - 1, 2**31 - 1, 2**62]
FIELDS = {
    "dim": st.lists(st.sampled_from([-1, 0, 1, 2, 3, 4, 5, 300, 32767]), min_size=8, max_size=8),
    "datatype": st.sampled_from([0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280, 1536,
                                 1792, 2048, 2304, 9999]),
    "bitpix": st.sampled_from([0, 1, 8, 16, 24, 32, 64, 128, 256, -8]),
    "pixdim": st.lists(st.floats(width=32), min_size=8, max_size=8),
    "vox_offset": st.sampled_from([-1, 0, 1, 347, 352, 353, 400, 1e9, 3e9]),
    "scl_slope": st.floats(width=32),
    "scl_inter": st.floats(width=32),
    "qform_code": st.integers(-1, 9),
    "sform_code": st.integers(-1, 9),
    "quatern_b": st.floats(width=32),
    "quatern_c": st.floats(-2, 2, width=32),
    "qoffset_x": st.floats(width=32),
    "srow_x": st.lists(st.floats(width=32), min_size=4, max_size=4),
    "srow_y": st.lists(st.floats(width=32), min_size=4, max_size=4),
    "srow_z": st.lists(st.sampled_from([0.0, 1.0, 2e-30, 2e30]), min_size=4, max_size=4),
    "xyzt_units": st.integers(0, 255),
    "magic": st.sampled_from([b"n+1", b"ni1", b"n+2", b"", b"xyz"]),
    "sizeof_hdr": st.sampled_from([348, 540, 0, 1543569408]),
}  # fmt: skip


@given(
    st.sampled_from(["nifti1", "nifti2"]),
    st.sampled_from(["<", ">"]),
    st.booleans(),
    st.dictionaries(st.sampled_from(sorted(FIELDS)), st.none(), min_size=1, max_size=4),
    st.data(),
)
def test_changed_fields(
    version: str, endianness: str, packed: bool, names: dict[str, None], data: st.DataObject
) -> None:
    kind = {"nifti1": nib.Nifti1Header, "nifti2": nib.Nifti2Header}[version]
    header = kind(endianness=endianness)
    header.set_data_shape(SHAPE)
    header.set_data_dtype(np.int16)
    header.set_qform(affine_of(), code=1)
    header.set_sform(affine_of(), code=1)
    header["vox_offset"] = header.single_vox_offset
    header["magic"] = header.single_magic
    for name in names:
        with contextlib.suppress(OverflowError):  # NIfTI-1 has small integers
            header.structarr[name] = data.draw(FIELDS[name])
    voxels = textured(SHAPE, maximum=100).astype(f"{endianness}i2").T.tobytes()
    content = header.binaryblock + b"\0" * 4 + voxels
    tracemalloc.start()
    try:
        read_or_refuse(
            gzip.compress(content) if packed else content, ".nii.gz" if packed else ".nii"
        )
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()


@given(
    st.lists(st.floats(width=64), min_size=60, max_size=60),
    st.sampled_from([np.float32, np.float64]),
)
@example([1e300] * 59 + [-1e300], np.float64)
@example([2.0**31] * 59 + [0], np.float32)
@example([1e38] * 59 + [-3e38], np.float32)
def test_any_values(values: list[float], dtype: type) -> None:
    with np.errstate(over="ignore"):
        data = np.array(values).reshape(SHAPE).astype(dtype)
    read_or_refuse(nib.Nifti1Image(data, affine_of()).to_bytes(), ".nii")


@given(st.lists(st.floats(), min_size=12, max_size=12))
@example([1e300, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0])
@example([1e-170, 0, 0, 0, 0, 1e-170, 0, 0, 0, 0, 1e-170, 0])
@example([1, 0, 0, 1e308, 0, 1, 0, 0, 0, 0, 1, 0])
def test_any_affine(entries: list[float]) -> None:
    """NIfTI-2 stores them in double precision."""
    header = nib.Nifti2Header.from_header(nib.Nifti2Image.from_bytes(NIFTI2).header)
    for row, name in enumerate(("srow_x", "srow_y", "srow_z")):
        header[name] = entries[4 * row : 4 * row + 4]
    content = header.binaryblock + NIFTI2[len(header.binaryblock) :]
    read_or_refuse(content, ".nii")
