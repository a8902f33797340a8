"""The C and C++ examples, built from an installed library, give what Python gives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from installed_library import ROOT, InstalledLibrary, build, run
from vmruntime import Registrar, Registration

PHANTOM = ROOT / "examples" / "phantom"

OF_RANGE = 1e-4
"""Share of the intensities' range by which two engines may differ: both compute in float32."""

VOXELS_APART = 1e-4
"""Voxels by which their displacements may."""


@dataclass(frozen=True)
class Example:
    """Files as the examples take them, and what Python makes of them."""

    model: Path
    moving: Path
    fixed: Path
    labels: Path
    expected: Registration


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    """The demo model and the phantom pair, uncompressed."""
    pytest.importorskip("torch", reason="the export extra is not installed")
    from click.testing import CliRunner

    from vmexport.cli.export import main

    folder = tmp_path_factory.mktemp("example")
    model = folder / "model.onnx"
    arguments = [str(ROOT / "examples" / "demo_model.pt"), "-o", str(model)]
    arguments += ["--voxel-size", "2,2,2", "--intensity", "percentile:0,99"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    files = []
    for name in ("moving", "fixed", "moving_labels"):
        files.append(folder / f"{name}.nii")
        nib.save(nib.load(PHANTOM / f"{name}.nii.gz"), files[-1])
    moving, fixed, labels = files
    with Registrar.load(model, backend="onnxruntime") as registrar:
        expected = registrar.register(
            moving, fixed, affine="header", labels=[labels], label_interpolation="label"
        )
    return Example(model, moving, fixed, labels, expected)


def assert_same(example: Example, moved: Path, labels: Path) -> None:
    """Compare what a program wrote with what Python computed."""
    wanted, image = example.expected.moved, nib.load(moved)
    np.testing.assert_allclose(image.affine, wanted.grid.affine, atol=1e-6)
    limit = OF_RANGE * float(wanted.data.max())
    assert np.abs(image.get_fdata(dtype=np.float32) - wanted.data).max() < limit
    written: NDArray[np.generic] = np.asarray(nib.load(labels).dataobj)
    carried = example.expected.moved_labels[0].data
    assert written.dtype == carried.dtype
    # Where two labels have the same share to the last digit, either may win.
    assert np.count_nonzero(written != carried) <= 3


def test_the_c_example_registers_the_phantom(
    c_library: InstalledLibrary, example: Example, tmp_path: Path
) -> None:
    folder = tmp_path / "build"
    build(ROOT / "examples" / "c", folder, f"-DCMAKE_PREFIX_PATH={c_library.prefix}")
    moved, labels = tmp_path / "moved.nii", tmp_path / "moved_labels.nii"
    files = (example.model, example.moving, example.fixed, example.labels, moved, labels)
    output = run(folder / "register", *files, env=c_library.environment)
    assert output.startswith("network")
    assert_same(example, moved, labels)


@pytest.mark.parametrize("reader", ["libnifti2", "plain"])
def test_the_viewer_registers_the_phantom(
    c_library: InstalledLibrary, example: Example, tmp_path: Path, reader: str
) -> None:
    folder = tmp_path / "build"
    options = [f"-DCMAKE_PREFIX_PATH={c_library.prefix}"]
    options.append(f"-DWITH_NIFTI2={'ON' if reader == 'libnifti2' else 'OFF'}")
    said = run("cmake", "-S", ROOT / "examples" / "cpp", "-B", folder, *options)
    if reader == "libnifti2" and "no libnifti2" in said:
        pytest.skip("libnifti2 is not installed (Debian: libnifti2-dev)")
    run("cmake", "--build", folder)
    files = (example.model, example.moving, example.fixed, example.labels, tmp_path)
    output = run(folder / "viewer", *files, env=c_library.environment)
    assert_same(example, tmp_path / "moved.nii", tmp_path / "moved_labels.nii")
    assert (tmp_path / "slices.pgm").read_bytes().startswith(b"P5\n320 96\n255\n")
    numbers = [float(x) for x in re.findall(r"-?\d+\.\d+", output.splitlines()[-1])]
    cursor, there = np.array([numbers[:3]]), np.array(numbers[3:])
    apart = np.abs(example.expected.transform.map_points(cursor)[0] - there)
    assert apart.max() < VOXELS_APART * 2 + 5e-5  # voxels of 2 mm; four digits were printed


def test_programs_say_what_is_wrong(
    c_library: InstalledLibrary, example: Example, tmp_path: Path
) -> None:
    import os
    import subprocess

    folder = tmp_path / "build"
    build(ROOT / "examples" / "c", folder, f"-DCMAKE_PREFIX_PATH={c_library.prefix}")
    command = [folder / "register", example.moving, example.moving, example.fixed, example.labels]
    done = subprocess.run(
        [*map(str, command), str(tmp_path / "a.nii"), str(tmp_path / "b.nii")],
        env=os.environ | c_library.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "not an ONNX model" in done.stderr
    assert not (tmp_path / "a.nii").exists()
