"""Reading scans and labels, writing NIfTI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from synthetic_scans import (
    ORIENTATIONS,
    affine_of,
    oblique_affine,
    parcellation,
    textured,
    write_nifti,
)
from vmruntime import Grid, ScanError, Volume
from vmruntime.io.images import read_labels, read_scan
from vmruntime.io.nifti import write_volume

SHAPE = (7, 5, 9)

HEADER = 1e-4
"""Millimetres: an affine stored in float32; a quaternion for the qform costs about as much."""

KINDS = [nib.Nifti1Image, nib.Nifti2Image]
SUFFIXES = [".nii", ".nii.gz"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_reads_nifti(tmp_path: Path, kind: Any, suffix: str, dtype: type) -> None:
    data = textured(SHAPE).astype(dtype)
    scan = read_scan(write_nifti(tmp_path / f"scan{suffix}", data, oblique_affine(), kind=kind))
    assert scan.data.dtype == np.float32
    assert scan.data.dtype.isnative
    np.testing.assert_array_equal(scan.data, data.astype(np.float32))
    np.testing.assert_allclose(scan.grid.affine, oblique_affine(), atol=HEADER)
    assert scan.name == str(tmp_path / f"scan{suffix}")


@pytest.mark.parametrize("suffix", [".mgh", ".mgz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
def test_reads_mgh(tmp_path: Path, suffix: str, dtype: type) -> None:
    data = textured(SHAPE).astype(dtype)
    nib.save(nib.MGHImage(data, oblique_affine()), tmp_path / f"scan{suffix}")
    scan = read_scan(tmp_path / f"scan{suffix}")
    assert scan.data.dtype == np.float32
    assert scan.data.dtype.isnative
    np.testing.assert_array_equal(scan.data, data.astype(np.float32))
    np.testing.assert_allclose(scan.grid.affine, oblique_affine(), atol=HEADER)


@pytest.mark.parametrize("reader", [read_scan, read_labels])
def test_reads_big_endian(tmp_path: Path, reader: Any) -> None:
    data = textured(SHAPE).astype(np.int16)
    header = nib.Nifti1Header(endianness=">")
    image = nib.Nifti1Image(data, affine_of(), header)
    image.set_data_dtype(np.dtype(">i2"))
    nib.save(image, tmp_path / "scan.nii")
    assert (tmp_path / "scan.nii").read_bytes()[:4] == b"\0\0\1\x5c"
    volume = reader(tmp_path / "scan.nii")
    assert volume.data.dtype == (np.float32 if reader is read_scan else np.int16)
    assert volume.data.dtype.isnative
    np.testing.assert_array_equal(volume.data, data)
    volume.save(tmp_path / "copy.nii")
    np.testing.assert_array_equal(nib.load(tmp_path / "copy.nii").get_fdata(), data)


@pytest.mark.parametrize(("slope", "inter"), [(0.5, 0.0), (2.0, -100.0), (1.0, 7.0)])
def test_applies_the_headers_scaling(tmp_path: Path, slope: float, inter: float) -> None:
    stored = textured(SHAPE).astype(np.int16)
    image = nib.Nifti1Image(stored, affine_of())
    image.header.set_slope_inter(slope, inter)
    image.set_data_dtype(np.int16)
    # nibabel stores (data - inter) / slope, so that a reader gets the data back.
    nib.save(image, tmp_path / "scan.nii.gz")
    raw = nib.load(tmp_path / "scan.nii.gz")
    assert (raw.dataobj.slope, raw.dataobj.inter) == (slope, inter)
    expected = raw.dataobj.get_unscaled() * slope + inter
    np.testing.assert_allclose(read_scan(tmp_path / "scan.nii.gz").data, expected, rtol=1e-6)
    labels = np.rint(expected)
    if np.array_equal(labels, expected):
        found = read_labels(tmp_path / "scan.nii.gz")
        assert found.data.dtype == np.int32
        np.testing.assert_array_equal(found.data, labels)


def test_drops_trailing_axes_of_one(tmp_path: Path) -> None:
    for number, extra in enumerate([(1,), (1, 1), (1, 1, 1, 1)]):
        path = write_nifti(tmp_path / f"{number}.nii.gz", textured(SHAPE).reshape(*SHAPE, *extra))
        assert read_scan(path).grid.shape == SHAPE


@pytest.mark.parametrize(("qform", "sform"), [(1, 0), (0, 1), (0, 2), (3, 4)])
def test_one_form_is_enough(tmp_path: Path, qform: int, sform: int) -> None:
    path = write_nifti(
        tmp_path / "scan.nii", textured(SHAPE), oblique_affine(), qform=qform, sform=sform
    )
    scan = read_scan(path)
    np.testing.assert_allclose(scan.grid.affine, oblique_affine(), atol=HEADER)
    scan.save(tmp_path / "copy.nii")
    copy = nib.load(tmp_path / "copy.nii").header
    assert (int(copy["qform_code"]), int(copy["sform_code"])) == (qform, sform)
    np.testing.assert_allclose(copy.get_best_affine(), oblique_affine(), atol=HEADER)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_orientation_round_trips(tmp_path: Path, orientation: str) -> None:
    volume = Volume(textured(SHAPE), Grid(SHAPE, affine_of(orientation, (1, 1.3, 2))))
    volume.save(tmp_path / "scan.nii")
    again = read_scan(tmp_path / "scan.nii")
    assert again.grid.orientation == orientation
    assert again.grid.matches(volume.grid)
    np.testing.assert_array_equal(again.data, volume.data)


def test_real_scans(assets: Path, tmp_path: Path) -> None:
    """Against nibabel, FreeSurfer's own files and labels beyond 12000 among them."""
    for name in ("subject_n_native.mgz", "test_scan_aligned.nii.gz"):
        path = assets / "scans" / name
        expected = nib.load(path)
        scan = read_scan(path)
        np.testing.assert_array_equal(scan.data, expected.get_fdata(dtype=np.float32))
        np.testing.assert_array_equal(scan.grid.affine, expected.affine)
        assert scan.grid.orientation == "LIA"
    labels = read_labels(assets / "scans" / "subject_n_native_aparc_aseg.mgz")
    assert labels.data.dtype == np.int32
    assert labels.data.max() == 12175
    labels.save(tmp_path / "labels.nii")
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.nii").data, labels.data)


def test_takes_nibabel_images_and_volumes() -> None:
    image = nib.Nifti1Image(textured(SHAPE).astype(np.float64), affine_of())
    scan = read_scan(image)
    assert scan.data.dtype == np.float32
    assert scan.name == "image"
    again = read_scan(scan)
    np.testing.assert_array_equal(again.data, scan.data)
    labels = read_labels(Volume(parcellation(SHAPE), scan.grid))
    assert labels.data.dtype == np.int16
    mask = read_labels(Volume(parcellation(SHAPE) > 2, scan.grid))
    assert mask.data.dtype == np.uint8


@pytest.mark.parametrize("source", [3, None, b"scan.nii", np.zeros(SHAPE)])
def test_refuses_other_things(source: object) -> None:
    with pytest.raises(ScanError, match="path, a nibabel image or a Volume"):
        read_scan(source)  # type: ignore[arg-type]


# Writing -----------------------------------------------------------------------------------------


def fixed_scan(folder: Path, kind: Any = nib.Nifti1Image, suffix: str = ".nii.gz") -> Volume:
    """A scan with everything in its header that a result must take over, or must not."""
    image = kind(textured(SHAPE).astype(np.int16)[..., None], None)
    image.header.set_slope_inter(0.5, 10)
    image.set_qform(oblique_affine(), code=1)
    image.set_sform(oblique_affine(), code=4)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"subject 7, session 2"
    image.header["aux_file"] = b"atlas.txt"
    image.header["cal_max"] = 77
    image.header["intent_code"] = 1002
    nib.save(image, folder / f"fixed{suffix}")
    return read_scan(folder / f"fixed{suffix}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_keeps_the_fixed_header(tmp_path: Path, kind: Any, suffix: str) -> None:
    fixed = fixed_scan(tmp_path, kind)
    data = textured(SHAPE, 5) - 300
    Volume(data, fixed.grid, fixed.header).save(tmp_path / f"moved{suffix}")
    moved = nib.load(tmp_path / f"moved{suffix}")
    assert type(moved) is kind
    assert moved.shape == SHAPE
    assert moved.get_data_dtype() == np.float32
    np.testing.assert_array_equal(np.asarray(moved.dataobj), data)
    original = nib.load(tmp_path / "fixed.nii.gz")
    for name in ("qform_code", "sform_code", "descrip", "aux_file", "xyzt_units", "qoffset_x"):
        assert moved.header[name] == original.header[name], name
    np.testing.assert_array_equal(moved.affine, original.affine)
    np.testing.assert_array_equal(moved.get_qform(), original.get_qform())
    assert (moved.dataobj.slope, moved.dataobj.inter) == (1, 0)
    for name in ("cal_min", "cal_max", "intent_code"):
        assert moved.header[name] == 0, name


def test_the_headers_own_scan_is_not_changed_by_saving(tmp_path: Path) -> None:
    fixed = fixed_scan(tmp_path)
    before = fixed.header.binaryblock
    Volume(parcellation(SHAPE), fixed.grid, fixed.header).save(tmp_path / "labels.nii")
    assert fixed.header.binaryblock == before


@pytest.mark.parametrize("suffix", [".mgh", ".mgz"])
def test_mgh_becomes_nifti(tmp_path: Path, suffix: str) -> None:
    nib.save(nib.MGHImage(textured(SHAPE), oblique_affine()), tmp_path / f"fixed{suffix}")
    read_scan(tmp_path / f"fixed{suffix}").save(tmp_path / "moved.nii.gz")
    moved = nib.load(tmp_path / "moved.nii.gz")
    assert type(moved) is nib.Nifti1Image
    assert int(moved.header["sform_code"]) == int(moved.header["qform_code"]) == 1
    assert moved.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(moved.affine, oblique_affine(), atol=HEADER)


@pytest.mark.parametrize("suffix", [".img", ".img.gz"])
def test_a_header_and_image_pair_keeps_its_place(tmp_path: Path, suffix: str) -> None:
    """`.hdr` and `.img` are read by nibabel as well; the result must lie where they do."""
    image = nib.Nifti1Pair(textured(SHAPE), oblique_affine())
    image.header["descrip"] = b"pair"
    nib.save(image, tmp_path / f"fixed{suffix}")
    fixed = read_scan(tmp_path / f"fixed{suffix}")
    fixed.save(tmp_path / "moved.nii")
    moved = nib.load(tmp_path / "moved.nii")
    np.testing.assert_allclose(moved.affine, oblique_affine(), atol=HEADER)
    np.testing.assert_array_equal(moved.get_fdata(dtype=np.float32), fixed.data)


def test_the_grid_wins_over_a_header_that_lies_elsewhere(tmp_path: Path) -> None:
    fixed = fixed_scan(tmp_path)
    elsewhere = Grid(SHAPE, affine_of("PIR", (1, 2, 3)))
    Volume(fixed.data, elsewhere, fixed.header).save(tmp_path / "moved.nii")
    moved = nib.load(tmp_path / "moved.nii")
    np.testing.assert_allclose(moved.affine, elsewhere.affine, atol=HEADER)
    np.testing.assert_allclose(moved.get_qform(), elsewhere.affine, atol=HEADER)
    assert (int(moved.header["qform_code"]), int(moved.header["sform_code"])) == (1, 4)


def header_of(kind: str, folder: Path) -> Any:
    if kind == "none":
        return None
    if kind == "mgh":
        return nib.freesurfer.mghformat.MGHHeader()
    return fixed_scan(folder, nib.Nifti2Image if kind == "nifti2" else nib.Nifti1Image).header


@pytest.mark.parametrize("header", ["none", "mgh", "nifti1", "nifti2"])
@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]
)
def test_labels_keep_their_type(tmp_path: Path, dtype: type, header: str) -> None:
    limit = min(np.iinfo(dtype).max, 12345)
    data = parcellation(SHAPE, (0, 1, limit - 1, limit)).astype(dtype)
    grid = Grid(SHAPE, oblique_affine())
    Volume(data, grid, header_of(header, tmp_path)).save(tmp_path / "labels.nii.gz")
    saved = nib.load(tmp_path / "labels.nii.gz")
    assert saved.get_data_dtype() == dtype
    labels = read_labels(tmp_path / "labels.nii.gz")
    assert labels.data.dtype == dtype
    np.testing.assert_array_equal(labels.data, data)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whole_floating_point_labels_become_integers(tmp_path: Path, dtype: type) -> None:
    values = (0, 2, 12175, 2035)
    data = parcellation(SHAPE, values).astype(dtype)
    labels = read_labels(write_nifti(tmp_path / "labels.nii.gz", data))
    assert labels.data.dtype == np.int32
    assert set(np.unique(labels.data)) == set(values)


def test_labels_beyond_12175(tmp_path: Path) -> None:
    data = parcellation(SHAPE, (0, 12175, 14175, 32767)).astype(np.int32)
    data[3, 2, 4] = 2**31 - 1
    labels = read_labels(write_nifti(tmp_path / "labels.nii.gz", data))
    np.testing.assert_array_equal(labels.data, data)


@pytest.mark.parametrize("value", [2.0**31, -(2.0**33), 1e30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floating_point_labels_beyond_32_bits(tmp_path: Path, value: float, dtype: type) -> None:
    data = parcellation(SHAPE).astype(dtype)
    data[3, 2, 4] = value
    with pytest.raises(ScanError, match="beyond 32 bits"):
        read_labels(write_nifti(tmp_path / "labels.nii", data))


@pytest.mark.parametrize("value", [0.5, 1e-6, np.nan, np.inf])
def test_labels_must_be_whole(tmp_path: Path, value: float) -> None:
    data = parcellation(SHAPE).astype(np.float64)
    data[3, 2, 4] = value
    with pytest.raises(ScanError, match=r"labels.nii: labels must be whole numbers"):
        read_labels(write_nifti(tmp_path / "labels.nii", data))


def test_constant_labels_are_allowed(tmp_path: Path) -> None:
    labels = read_labels(write_nifti(tmp_path / "labels.nii", np.zeros(SHAPE, np.uint8)))
    assert not labels.data.any()


def test_a_scan_may_be_overwritten_while_it_is_in_use(tmp_path: Path) -> None:
    """nibabel maps an unpacked file into memory; replacing the name must not change the data."""
    path = write_nifti(tmp_path / "scan.nii", textured(SHAPE))
    scan = read_scan(path)
    kept = scan.data.copy()
    scan.with_data(np.zeros_like(kept)).save(path, force=True)
    np.testing.assert_array_equal(scan.data, kept)


# Damage ------------------------------------------------------------------------------------------


def refusal(path: Path) -> str:
    """The one line that reading this file as a scan and as labels is refused with."""
    with pytest.raises(ScanError) as found:
        read_labels(path)
    with pytest.raises(ScanError) as also:
        read_scan(path)
    assert str(found.value).startswith(f"{path}: ")
    assert str(also.value).startswith(f"{path}: ")
    assert "\n" not in str(also.value)
    return str(also.value)


NOISE = np.random.default_rng(0).integers(0, 1000, (16, 32, 24)).astype(np.int16)


@pytest.mark.parametrize("left", [1, 5, 30, 200, 352, 0.1, 0.5, 0.9, 0.999, -20, -9, -8, -5, -1])
@pytest.mark.parametrize("suffix", [".nii.gz", ".mgz"])
def test_truncated_gzip(tmp_path: Path, suffix: str, left: float) -> None:
    """At any length, its last eight bytes (checksum and size) included."""
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".mgz":
        nib.save(nib.MGHImage(NOISE, affine_of()), whole)
    else:
        write_nifti(whole, NOISE)
    content = whole.read_bytes()
    read_scan(whole)
    path = tmp_path / f"scan{suffix}"
    path.write_bytes(content[: int(left * len(content)) if 0 < left < 1 else int(left)])
    assert "copy it again" in refusal(path) or "cannot be read" in refusal(path)


@pytest.mark.parametrize("left", [1, 100, 347, 348, 351, 352, 0.5, -1])
@pytest.mark.parametrize("kind", KINDS)
def test_truncated_nifti(tmp_path: Path, kind: Any, left: float) -> None:
    content = write_nifti(tmp_path / "whole.nii", NOISE, kind=kind).read_bytes()
    path = tmp_path / "scan.nii"
    path.write_bytes(content[: int(left * len(content)) if 0 < left < 1 else int(left)])
    refusal(path)


@pytest.mark.parametrize("left", [1, 100, 283, 284, 285, 0.5, -1000])
def test_truncated_mgh(tmp_path: Path, left: float) -> None:
    nib.save(nib.MGHImage(NOISE, affine_of()), tmp_path / "whole.mgh")
    content = (tmp_path / "whole.mgh").read_bytes()
    path = tmp_path / "scan.mgh"
    path.write_bytes(content[: int(left * len(content)) if 0 < left < 1 else int(left)])
    refusal(path)


def test_a_flipped_bit_in_gzip(tmp_path: Path) -> None:
    """Stored blocks decompress whatever they hold; only the checksum tells."""
    import gzip

    plain = write_nifti(tmp_path / "whole.nii", NOISE).read_bytes()
    content = bytearray(gzip.compress(plain, 0))
    content[len(content) // 2] ^= 4
    (tmp_path / "scan.nii.gz").write_bytes(content)
    assert "truncated or damaged" in refusal(tmp_path / "scan.nii.gz")


def test_several_gzip_members_are_one_file(tmp_path: Path) -> None:
    """What bgzip and `cat` make is valid."""
    import gzip

    plain = write_nifti(tmp_path / "whole.nii", NOISE).read_bytes()
    packed = gzip.compress(plain[:1000]) + gzip.compress(plain[1000:]) + gzip.compress(b"")
    (tmp_path / "scan.nii.gz").write_bytes(packed)
    np.testing.assert_array_equal(read_scan(tmp_path / "scan.nii.gz").data, NOISE)


@pytest.mark.parametrize("dims", [(30000, 30000, 30000), (32767, 32767, 3), (400, 400, 400)])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mgz"])
def test_a_header_that_promises_too_much(
    tmp_path: Path, dims: tuple[int, int, int], suffix: str
) -> None:
    path = tmp_path / f"scan{suffix}"
    if suffix == ".mgz":
        nib.save(nib.MGHImage(NOISE[:2, :2, :2], affine_of()), path)
        image = nib.load(path)
        header = image.header.copy()
        header["dims"][:3] = dims
        import gzip

        path.write_bytes(gzip.compress(header.binaryblock + b"\0" * 200))
    else:
        write_nifti(path, NOISE[:2, :2, :2])
        image = nib.load(path)
        header = image.header.copy()
        header["dim"][1:4] = dims
        with nib.openers.ImageOpener(path, "wb") as stream:
            stream.write(header.binaryblock + b"\0" * 100)
    assert "copy it again" in refusal(path) or "cannot be read" in refusal(path)


def test_a_nifti2_header_that_promises_everything(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "scan.nii", NOISE, kind=nib.Nifti2Image)
    header = nib.load(path).header.copy()
    header["dim"][1:4] = 2**40
    path.write_bytes(header.binaryblock + b"\0" * 500)
    assert "promises" in refusal(path)


def test_values_beyond_float32(tmp_path: Path) -> None:
    data = textured(SHAPE).astype(np.float64)
    data[3, 2, 4] = 1e300
    with pytest.raises(ScanError, match=r"1 voxels are NaN or infinite, the first at \(3, 2, 4\)"):
        read_scan(write_nifti(tmp_path / "scan.nii", data))
    image = nib.Nifti1Image(data, affine_of())
    with pytest.raises(ScanError, match="infinite"):
        read_scan(image)
    with pytest.raises(ScanError, match="infinite"):
        read_scan(Volume(data, Grid(SHAPE, affine_of())))


@pytest.mark.parametrize(("slope", "inter"), [(3e38, 0), (2e36, 3e38)])
def test_scalings_that_overflow(tmp_path: Path, slope: float, inter: float) -> None:
    path = write_nifti(tmp_path / "scan.nii", textured(SHAPE).astype(np.int16))
    header = nib.load(path).header.copy()
    header["scl_slope"], header["scl_inter"] = slope, inter
    content = path.read_bytes()
    path.write_bytes(header.binaryblock + content[348:])
    with pytest.raises(ScanError, match=r"infinite|every voxel"):
        read_scan(path)
    with pytest.raises(ScanError, match="beyond 32 bits"):
        read_labels(path)


def test_name_too_long(tmp_path: Path) -> None:
    refusal(tmp_path / ("x" * 300 + ".nii"))


def test_out_of_memory_is_not_called_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    path = write_nifti(tmp_path / "scan.nii.gz", NOISE)
    monkeypatch.setattr(nib.arrayproxy.ArrayProxy, "__array__", exhausted)
    with pytest.raises(MemoryError):
        read_labels(path)


@pytest.mark.parametrize(("unit", "factor"), [("micron", 1e-3), ("meter", 1e3), ("unknown", 1)])
def test_other_units_than_millimetres(tmp_path: Path, unit: str, factor: float) -> None:
    affine = np.diag([2.0, 1.0, 0.5, 1.0])
    affine[:3, :3] /= factor
    image = nib.Nifti1Image(np.random.default_rng(0).random((5, 6, 7), np.float32), affine)
    image.header.set_xyzt_units(unit, "sec")
    nib.save(image, tmp_path / "scan.nii")
    volume = read_scan(tmp_path / "scan.nii")
    assert volume.grid.voxel_size == pytest.approx((2.0, 1.0, 0.5))
    write_volume(tmp_path / "copy.nii.gz", volume)
    written = nib.load(tmp_path / "copy.nii.gz")
    assert written.header.get_xyzt_units() == ("unknown" if unit == "unknown" else "mm", "sec")
    assert read_scan(tmp_path / "copy.nii.gz").grid.matches(volume.grid)
