"""Affines in ITK's files, and what every format refuses."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmruntime.errors import OutputError, TransformError, VMError
from vmruntime.io.affine_files import AFFINE_SUFFIXES, read_affine, write_affine
from worlds import FIXED, GRIDS, LPS, MOVING, applied, matrix, points, through_itk, written

EXACT_MM = 1e-9
"""Formats that keep float64, over places some 100 mm away."""

DECIMALS_MM = 1e-4
"""ITK's text writers keep 6 significant digits or more of values up to some 100 mm."""


def euler(sitk: Any, *, zyx: bool) -> Any:
    transform = sitk.Euler3DTransform()
    transform.SetComputeZYX(zyx)
    transform.SetRotation(0.3, -0.5, 0.9)
    transform.SetTranslation((4, -5, 6))
    transform.SetCenter((10, 20, -30))
    return transform


def affine(sitk: Any) -> Any:
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix(3)[:3, :3].ravel().tolist())
    transform.SetTranslation((4, -5, 6))
    transform.SetCenter((10, 20, -30))
    return transform


def versor(sitk: Any) -> Any:
    transform = sitk.VersorRigid3DTransform()
    transform.SetRotation((1, 2, -1), 0.7)
    transform.SetTranslation((4, -5, 6))
    transform.SetCenter((10, 20, -30))
    return transform


def similarity(sitk: Any) -> Any:
    transform = sitk.Similarity3DTransform()
    transform.SetRotation((1, -2, 1), 0.4)
    transform.SetScale(1.3)
    transform.SetTranslation((4, -5, 6))
    transform.SetCenter((10, 20, -30))
    return transform


TRANSFORMS: dict[str, Callable[[Any], Any]] = {
    "affine": affine,
    "euler": lambda sitk: euler(sitk, zyx=False),
    "euler-zyx": lambda sitk: euler(sitk, zyx=True),
    "versor": versor,
    "similarity": similarity,
    "translation": lambda sitk: sitk.TranslationTransform(3, (1, -2, 3)),
    "identity": lambda sitk: sitk.Transform(3, sitk.sitkIdentity),
    "composite": lambda sitk: sitk.CompositeTransform([affine(sitk), versor(sitk)]),
}


@pytest.mark.parametrize("suffix", [".txt", ".tfm", ".mat", ".h5"])
@pytest.mark.parametrize("kind", TRANSFORMS)
def test_reads_what_itk_writes(sitk: Any, tmp_path: Path, kind: str, suffix: str) -> None:
    if (kind, suffix) == ("composite", ".mat"):
        pytest.skip("ITK cannot write it")
    if suffix == ".h5":
        pytest.importorskip("h5py", reason="the h5 extra is not installed")
    transform = TRANSFORMS[kind](sitk)
    path = tmp_path / f"transform{suffix}"
    sitk.WriteTransform(transform, str(path))
    found = applied(read_affine(path), points())
    np.testing.assert_allclose(found, through_itk(transform, points()), atol=DECIMALS_MM, rtol=0)


@pytest.mark.parametrize("suffix", [".txt", ".tfm"])
def test_itk_reads_what_is_written(sitk: Any, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"affine{suffix}"
    write_affine(path, matrix())
    found = through_itk(sitk.ReadTransform(str(path)), points())
    np.testing.assert_allclose(found, applied(matrix(), points()), atol=EXACT_MM, rtol=0)


@pytest.mark.parametrize("suffix", AFFINE_SUFFIXES)
@pytest.mark.parametrize("fixed", GRIDS)
@pytest.mark.parametrize("moving", GRIDS)
def test_round_trip(tmp_path: Path, moving: str, fixed: str, suffix: str) -> None:
    path = tmp_path / f"affine{suffix}"
    grids = {"moving": GRIDS[moving], "fixed": GRIDS[fixed]}
    write_affine(path, matrix(), **grids)
    found = applied(read_affine(path, **grids), points(GRIDS[fixed]))
    # FSL's numbers are written with 12 digits.
    np.testing.assert_allclose(found, applied(matrix(), points(GRIDS[fixed])), atol=1e-6, rtol=0)


def test_translation_has_the_documented_sign(tmp_path: Path) -> None:
    """10 mm to the right, back and up in RAS, by hand."""
    path = written(
        tmp_path / "shift.txt",
        "#Insight Transform File V1.0\r\n# Transform 0\r\n#Transform 0\r\n"
        "Transform: MatrixOffsetTransformBase_double_3_3\r\n"
        "Parameters: 1 0 0 0 1 0 0 0 1 -10 10 10\r\nFixedParameters: 7 8 9\r\n",
    )
    np.testing.assert_allclose(read_affine(path)[:3, 3], (10, -10, 10))


@pytest.mark.parametrize(("order", "thousands"), [("<", 0), (">", 1000)])
@pytest.mark.parametrize(("letter", "precision"), [("d", 0), ("f", 10)])
@pytest.mark.parametrize("rows_first", [0, 100], ids=["matlab", "vnl"])
def test_matlab_byte_orders(
    tmp_path: Path, order: str, thousands: int, letter: str, precision: int, rows_first: int
) -> None:
    def entry(label: bytes, values: list[float]) -> bytes:
        kind = thousands + rows_first + precision
        head = struct.pack(f"{order}5i", kind, len(values), 1, 0, len(label) + 1)
        return head + label + b"\0" + struct.pack(f"{order}{len(values)}{letter}", *values)

    flip = np.diag([*LPS, 1.0])
    lps = flip @ matrix() @ flip
    values = [*lps[:3, :3].ravel(), *lps[:3, 3]]
    content = entry(b"AffineTransform_float_3_3", values) + entry(b"fixed", [0, 0, 0])
    found = read_affine(written(tmp_path / "0GenericAffine.mat", content))
    # Single precision keeps 7 digits.
    np.testing.assert_allclose(found, matrix(), atol=1e-5 if precision else 1e-12)


def test_agrees_with_ants(ants: Any, tmp_path: Path) -> None:
    """Both its file types, and that ANTs reads ours."""
    flip = np.diag([*LPS, 1.0])
    lps = flip @ matrix() @ flip
    transform = ants.create_ants_transform(
        transform_type="AffineTransform", matrix=lps[:3, :3], translation=lps[:3, 3]
    )
    path = str(tmp_path / "ants.mat")
    ants.write_transform(transform, path)
    # ANTsPy's transforms are single precision.
    np.testing.assert_allclose(read_affine(path), matrix(), atol=1e-5)
    write_affine(tmp_path / "ours.txt", matrix())
    read = ants.read_transform(str(tmp_path / "ours.txt"))
    for place in points()[:5]:
        moved = np.array(ants.apply_ants_transform_to_point(read, place * LPS)) * LPS
        np.testing.assert_allclose(moved, applied(matrix(), place), atol=1e-4)


ITK = "#Insight Transform File V1.0\n#Transform 0\n"
AFFINE_LINES = "Transform: AffineTransform_double_3_3\n"

BAD: dict[str, tuple[str | bytes, str]] = {
    "empty": (b"", "empty"),
    "words": ("once upon a time", "no transform known here"),
    "numbers": ("1 2 3 4\n5 6 7 8\n", "no transform known here"),
    "nifti": (b"\0" * 352, "no transform known here"),
    "latin": (b"\xff\xfe\xff" * 50, "no affine file"),
    "large": (b"1 " * (1 << 20), "too large"),
    "singular": ("1 0 0 0\n0 0 0 0\n0 0 1 0\n0 0 0 1\n", "singular"),
    "projective": ("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 .1 1\n", "last row"),
    "infinite": ("1 0 0 0\n0 1 0 0\n0 0 1 inf\n0 0 0 1\n", "finite"),
    "itk-nothing": (ITK, "without a name"),
    "itk-cut": (ITK + AFFINE_LINES + "Parameters: 1 0 0\n", "3 parameters"),
    "itk-text": (ITK + AFFINE_LINES + "Parameters: 1 0 x\n", "not numbers"),
    "itk-nan": (ITK + AFFINE_LINES + f"Parameters: {'nan ' * 12}\n", "finite"),
    "itk-flat": (ITK + AFFINE_LINES + f"Parameters: {'0 ' * 12}\n", "singular"),
    "itk-2d": (ITK + "Transform: AffineTransform_double_2_2\nParameters: 1 0 0 1 0 0\n", "3-D"),
    "itk-bspline": (ITK + "Transform: BSplineTransform_double_3_3\n", "BSplineTransform"),
    "itk-versor": (
        ITK + "Transform: VersorRigid3DTransform_double_3_3\nParameters: 1 1 1 0 0 0\n",
        "versor",
    ),
    "itk-list": (2 * (ITK + AFFINE_LINES), "2 transforms"),
    "mat-cut": (struct.pack("<5i", 0, 12, 1, 0, 26) + b"AffineTransform_double_3_3", "truncated"),
    "mat-other": (struct.pack("<5i", 0, 1, 1, 0, 2) + b"x\0" + bytes(8), "MATLAB"),
    "h5-cut": (b"\x89HDF\r\n\x1a\n" + bytes(90), "cannot be read|not installed"),
    "lta-cut": ("type      = 1\nnxforms   = 1\n1 4 4\n1 0 0 0\n", "LTA"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, case: str) -> None:
    content, message = BAD[case]
    path = written(tmp_path / "bad.mat", content)
    with pytest.raises(VMError, match=message) as caught:
        read_affine(path, moving=MOVING, fixed=FIXED)
    assert str(path) in str(caught.value) or "h5py" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(TransformError, match="no such file"):
        read_affine(tmp_path / "none.txt")
    with pytest.raises(TransformError, match="cannot be read"):
        read_affine(tmp_path)


@pytest.mark.parametrize("cut", range(0, 200, 7))
def test_truncated_files_raise_our_error(sitk: Any, tmp_path: Path, cut: int) -> None:
    sitk.WriteTransform(affine(sitk), str(tmp_path / "whole.mat"))
    content = (tmp_path / "whole.mat").read_bytes()
    with pytest.raises(TransformError):
        read_affine(written(tmp_path / "cut.mat", content[: min(cut, len(content) - 1)]))


@pytest.fixture(scope="module")
def valid_files(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """One of each format but HDF5, whose damage h5py finds."""
    folder = tmp_path_factory.mktemp("valid")
    for suffix in AFFINE_SUFFIXES:
        write_affine(folder / f"affine{suffix}", matrix(), moving=MOVING, fixed=FIXED)
    header = struct.pack("<5i", 0, 12, 1, 0, 27) + b"AffineTransform_double_3_3\0"
    fixed = struct.pack("<5i", 0, 3, 1, 0, 6) + b"fixed\0" + bytes(24)
    matlab = header + np.eye(4)[:3].T.ravel().tobytes() + fixed
    return [path.read_bytes() for path in sorted(folder.iterdir())] + [matlab]


@given(
    number=st.integers(0, 4),
    place=st.floats(0, 1),
    length=st.integers(0, 12),
    replacement=st.binary(max_size=12) | st.sampled_from([b"1e999", b"-", b"99999999999", b"\n"]),
)
def test_damage_raises_our_error_or_none(
    valid_files: list[bytes],
    tmp_path_factory: pytest.TempPathFactory,
    number: int,
    place: float,
    length: int,
    replacement: bytes,
) -> None:
    content = valid_files[number]
    start = int(place * len(content))
    damaged = content[:start] + replacement + content[start + length :]
    path = written(tmp_path_factory.getbasetemp() / "damaged", damaged)
    try:
        found = read_affine(path, moving=MOVING, fixed=FIXED)
    except VMError:
        return
    assert found.shape == (4, 4)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("suffix", [".mat", ".lta"])
def test_writing_needs_grids(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(TransformError, match="ITK text file"):
        write_affine(tmp_path / f"affine{suffix}", matrix(), moving=MOVING)


def test_writing_refuses_other_names_and_matrices(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.lta"):
        write_affine(tmp_path / "affine.xfm", matrix())
    with pytest.raises(TransformError, match="singular"):
        write_affine(tmp_path / "affine.txt", np.diag([1.0, 1, 0, 1]))
