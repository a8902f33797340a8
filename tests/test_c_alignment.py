"""``VM_AFFINE_AUTO`` of the C library finds what `vmruntime.alignment` finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from c_session import CLibrary, CSession
from installed_library import ROOT, InstalledLibrary
from synthetic_scans import MODEL_SHAPE, affine_of, oblique_affine
from vmruntime import Grid, Manifest, Registrar, Volume
from vmruntime.alignment import Alignment, align
from vmruntime.alignment.rotations import rotation_about
from vmruntime.errors import AlignmentError
from vmruntime.io.images import read_scan

SAME_MM = 1e-6
"""At the corners: both add up in float64 and take the very same steps."""

VOXELS = 1e-4
"""Voxels by which displacements may differ after the same affine."""

Pair = tuple[Volume, Volume]


@pytest.fixture(scope="module")
def library(c_library: InstalledLibrary) -> CLibrary:
    return CLibrary(c_library.libraries / "libvmruntime.so")


@pytest.fixture(scope="module")
def session(
    library: CLibrary, c_library: InstalledLibrary, tiny_artifact: Path
) -> Iterator[CSession]:
    with CSession(library, tiny_artifact, c_library.openvino) as opened:
        yield opened


def corner_error(one: NDArray[np.float64], other: NDArray[np.float64], grid: Grid) -> float:
    """Largest distance in mm at the corners of a grid."""
    change = one - other
    return float(np.linalg.norm(grid.corners @ change[:3, :3].T + change[:3, 3], axis=1).max())


def assert_same(found: dict[str, Any], expected: Alignment, grid: Grid, limit_mm: float) -> None:
    assert corner_error(found["affine"], expected.matrix, grid) < limit_mm
    figures = found["alignment"]
    assert figures.computed == 1
    assert figures.plausible == expected.plausible
    about = limit_mm / 10
    assert figures.correlation == pytest.approx(expected.correlation, abs=max(about, 1e-9))
    assert figures.foreground_overlap == pytest.approx(expected.foreground_overlap, abs=about)
    assert figures.fixed_outside == pytest.approx(expected.fixed_outside, abs=about)
    assert list(figures.scale) == pytest.approx(expected.scale, abs=about)
    # The arccosine of something close to 1 has half of its digits.
    angle = max(10 * about, 1e-5)
    assert figures.rotation_degrees == pytest.approx(expected.rotation_degrees, abs=angle)
    assert list(figures.translation_mm) == pytest.approx(expected.translation_mm, abs=10 * about)
    codes = [code for code, _ in expected.warnings]
    if not expected.plausible:
        codes.insert(0, "affine-forced")
    others = ("intensity-range", "foreground-outside-grid")
    assert [code for code in found["warnings"] if code not in others] == codes


def brain(
    shape: tuple[int, int, int],
    affine: NDArray[np.float64],
    subject: int = 0,
    rim: float = 0.0,
) -> Volume:
    """A few ellipsoids of some centimetres without symmetry; a rim makes a head of it."""
    index = np.indices(shape).reshape(3, -1)
    world = affine[:3, :3] @ index + affine[:3, 3:]
    random = np.random.default_rng(subject)
    total = np.zeros(index.shape[1])
    parts = (
        ((0, 0, 0), (66, 84, 62), 60),
        ((0, 2, 2), (57, 74, 53), 50),
        ((-12, 6, 10), (10, 30, 14), -70),
        ((24, 10, -4), (10, 18, 12), -35),
        ((0, -48, -48), (46, 28, 22), 85),
        ((38, 42, 14), (14, 12, 10), -25),
        ((-44, -30, 20), (10, 16, 12), 30),
        ((0, 0, 0), (95, 112, 92), rim),
        ((0, 0, 0), (84, 100, 80), -rim),
    )
    for middle, axes, value in parts:
        moved = np.array(middle) + (random.normal(0, 1.5, 3) if subject else 0)
        scaled = (world - moved[:, None]) / np.array(axes)[:, None]
        depth = (1 - np.sqrt((scaled**2).sum(axis=0))) * min(axes) / 1.5
        total += value / (1 + np.exp(np.clip(-depth, -50, 50)))
    total *= 1 + 0.05 * np.cos(world.T @ (0.11, 0.07, -0.09))
    data = np.maximum(total, 0).astype(np.float32).reshape(shape)
    return Volume(data, Grid(shape, affine), None, "brain")


def centred(
    shape: tuple[int, int, int], voxel_size: tuple[float, float, float], orientation: str = "LIA"
) -> NDArray[np.float64]:
    affine: NDArray[np.float64] = affine_of(orientation, voxel_size, (0.0, 0.0, 0.0))
    affine[:3, 3] = np.array([2, -3, -8]) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def turned(degrees: float, axis: tuple[float, float, float]) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_about(np.radians(degrees) * np.array(axis) / np.linalg.norm(axis))
    matrix[:3, 3] = (11, -7, 5)
    return matrix


def in_other_world(volume: Volume, change: NDArray[np.float64]) -> Volume:
    return replace(volume, grid=Grid(volume.grid.shape, change @ volume.grid.affine))


@pytest.fixture(scope="module")
def fixed() -> Volume:
    return brain((58, 70, 66), centred((58, 70, 66), (3.0, 3.0, 3.0)))


@pytest.fixture(scope="module")
def moving() -> Volume:
    shape = (70, 60, 64)
    scan = brain(shape, centred(shape, (2.9, 3.2, 3.1), "PSR"), 1)
    return in_other_world(scan, turned(20, (1, 0.2, -0.4)))


def oblique() -> Volume:
    """Nearly no voxel axis along the world's; voxels of 1.2, 2.1 and 2 mm twice as large."""
    shape = (80, 48, 54)
    affine = oblique_affine()
    affine[:3, :3] *= 2
    affine[:3, 3] = np.array([0, 0, -8]) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return brain(shape, affine, 2)


def slices() -> Volume:
    shape = (101, 119, 30)
    return brain(shape, centred(shape, (1.7, 1.7, 7.0)), 3)


def small() -> Volume:
    """A mouse: a tenth of the size."""
    scan = brain((58, 70, 66), centred((58, 70, 66), (3.0, 3.0, 3.0)), 4)
    return in_other_world(scan, np.diag([0.1, 0.1, 0.1, 1.0]))


@pytest.mark.parametrize("scan", [oblique, slices])
def test_on_any_grid(session: CSession, fixed: Volume, scan: Callable[[], Volume]) -> None:
    for pair in ((scan(), fixed), (fixed, scan())):
        found = session.register(*pair, affine="auto", force=True)
        assert_same(found, align(*pair), pair[1].grid, SAME_MM)


def test_of_small_things(session: CSession, moving: Volume) -> None:
    tenth = in_other_world(moving, np.diag([0.1, 0.1, 0.1, 1.0]))
    found = session.register(tenth, small(), affine="auto", force=True)
    assert_same(found, align(tenth, small()), small().grid, SAME_MM)


@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]
)
def test_of_every_type(session: CSession, moving: Volume, fixed: Volume, dtype: str) -> None:
    typed = [
        scan.with_data(np.rint(scan.data / scan.data.max() * 127).astype(dtype))
        for scan in (moving, fixed)
    ]
    expected = align(*map(read_scan, typed))
    found = session.register(typed[0], typed[1], affine="auto", force=True)
    assert_same(found, expected, fixed.grid, SAME_MM)


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 2, 0), (0, 2, 1)])
def test_of_every_order_of_memory(
    session: CSession,
    moving: Volume,
    fixed: Volume,
    order: tuple[int, int, int],
) -> None:
    """Both go along the memory."""
    back = np.argsort(order)
    scans = [
        scan.with_data(np.ascontiguousarray(scan.data.transpose(order)).transpose(back))
        for scan in (moving, fixed)
    ]
    found = session.register(scans[0], scans[1], affine="auto", force=True)
    assert_same(found, align(*scans), fixed.grid, SAME_MM)


def test_of_two_heads(session: CSession, moving: Volume, fixed: Volume) -> None:
    found = session.register(moving, fixed, affine="auto", force=True)
    assert_same(found, align(moving, fixed), fixed.grid, SAME_MM)


def test_does_not_depend_on_threads(
    library: CLibrary,
    c_library: InstalledLibrary,
    tiny_artifact: Path,
    moving: Volume,
    fixed: Volume,
) -> None:
    found = []
    for threads in (1, 4):
        with CSession(library, tiny_artifact, c_library.openvino, threads=threads) as session:
            found.append(session.register(moving, fixed, affine="auto", force=True)["affine"])
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("full", [False, True])
def test_upside_down(session: CSession, moving: Volume, fixed: Volume, full: bool) -> None:
    """A quick search ends in doubt, and becomes a full one."""
    over = in_other_world(moving, np.diag([1.0, -1.0, -1.0, 1.0]))
    found = session.register(over, fixed, affine="auto", force=True, full_search=full)
    expected = align(over, fixed, search="full" if full else "quick")
    assert found["alignment"].rotation_degrees > 120
    assert_same(found, expected, fixed.grid, SAME_MM)


def test_warns_alike(session: CSession, fixed: Volume) -> None:
    """A head against a brain; a brain that is cut off."""
    shape = (70, 78, 74)
    head = brain(shape, centred(shape, (3.0, 3.0, 3.0)), 1, rim=110.0)
    cut = Volume(
        np.ascontiguousarray(fixed.data[:, :40]), Grid((58, 40, 66), fixed.grid.affine), None, "cut"
    )
    for pair in ((head, fixed), (fixed, head), (head, head), (cut, fixed), (fixed, cut)):
        expected = align(*pair)
        assert expected.warnings
        found = session.register(*pair, affine="auto", force=True)
        assert_same(found, expected, pair[1].grid, SAME_MM)


def test_refuses_alike(session: CSession, manifest: Manifest, fixed: Volume) -> None:
    random = np.random.default_rng(3)
    noise = fixed.with_data(random.uniform(0, 100, fixed.grid.shape).astype(np.float32))
    away = in_other_world(fixed, np.array([[1, 0, 0, 900], *np.eye(4)[1:].tolist()]))
    with pytest.raises(RuntimeError, match="correlate with"):
        session.register(noise, fixed, affine="auto")
    with pytest.raises(RuntimeError, match="no point in common"):
        session.register(away, fixed, affine="auto")
    for scan in (noise, away):
        assert not align(scan, fixed).plausible


def registered(
    session: CSession, model: Path, pair: Pair, affine: str
) -> tuple[dict[str, Any], dict[str, float]]:
    """A whole registration by both; the largest differences."""
    found = session.register(*pair, affine=affine)
    with Registrar.load(model, backend="onnxruntime", threads=1) as registrar:
        expected = registrar.register(*pair, affine=None if affine == "default" else affine)
    assert expected.pair.affine_source == "auto"
    fields = found["displacement"], expected.displacement.data
    offsets = found["offsets"], expected.transform.displacement_mm()
    moved = found["moved"], expected.moved.data
    assert [code for code, _ in expected.pair.warnings] == found["warnings"]
    differences = {
        "displacement": float(np.abs(fields[0] - fields[1]).max()),
        "mean_displacement": float(np.abs(fields[0] - fields[1]).mean()),
        "offsets": float(np.abs(offsets[0] - offsets[1]).max()),
        "moved": float(np.abs(moved[0] - moved[1]).max() / np.ptp(moved[1])),
    }
    return found, differences


def test_registers_the_same(
    session: CSession, tiny_artifact: Path, moving: Volume, fixed: Volume
) -> None:
    """The default is to align where the scans do not stand on the model's grid."""
    assert fixed.grid.shape != MODEL_SHAPE
    _, differences = registered(session, tiny_artifact, (moving, fixed), "default")
    assert differences["displacement"] < VOXELS
    assert differences["offsets"] < 10 * VOXELS
    assert differences["moved"] < 10 * VOXELS


@pytest.fixture(scope="module")
def demo_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch", reason="the export extra is not installed")
    from click.testing import CliRunner

    from vmexport.cli.export import main

    model = tmp_path_factory.mktemp("demo") / "model.onnx"
    arguments = [str(ROOT / "examples" / "demo_model.pt"), "-o", str(model)]
    arguments += ["--voxel-size", "2,2,2", "--intensity", "percentile:0,99"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return model


def test_the_phantom_pair(library: CLibrary, c_library: InstalledLibrary, demo_model: Path) -> None:
    folder = ROOT / "examples" / "phantom"
    moving, fixed = (read_scan(folder / f"{name}.nii.gz") for name in ("moving", "fixed"))
    with CSession(library, demo_model, c_library.openvino) as session:
        found, differences = registered(session, demo_model, (moving, fixed), "auto")
    assert_same(found, align(moving, fixed), fixed.grid, SAME_MM)
    assert differences["displacement"] < VOXELS
    assert differences["offsets"] < 4 * VOXELS


def test_a_native_subject(session: CSession, assets: Path) -> None:
    """In the order of the file's memory as well as in Python's."""
    folder = assets / "scans"
    moving = read_scan(folder / "subject_n_native.mgz")
    fixed = read_scan(folder / "test_scan_aligned.nii.gz")
    found = session.register(moving, fixed, affine="auto")
    assert found["alignment"].plausible == 1
    assert_same(found, align(moving, fixed), fixed.grid, SAME_MM)
    stored: Any = nib.load(folder / "subject_n_native.mgz")
    as_in_the_file = moving.with_data(np.asfortranarray(stored.dataobj))
    found = session.register(as_in_the_file, fixed, affine="auto")
    assert_same(found, align(read_scan(as_in_the_file), fixed), fixed.grid, SAME_MM)


def test_python_refuses_what_c_refuses(
    session: CSession, tiny_artifact: Path, fixed: Volume
) -> None:
    away = in_other_world(fixed, np.array([[1, 0, 0, 900], *np.eye(4)[1:].tolist()]))
    with (
        Registrar.load(tiny_artifact, backend="onnxruntime", threads=1) as registrar,
        pytest.raises(AlignmentError, match="no point in common"),
    ):
        registrar.register(away, fixed)
