"""The command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner, Result

from command_line import one_error_line, outside, snapshot
from synthetic_scans import parcellation, smooth_displacement, textured
from vmruntime import Displacement, Transform, Volume
from vmruntime.chain import AffineStep, Chain
from vmruntime.cli.transform import main
from vmruntime.io.affine_files import write_affine
from vmruntime.io.itk import read_warp, write_warp
from worlds import FIXED, MOVING, applied, matrix

Run = Callable[..., Result]

HEADER_DIFFERENCE = 1e-4 * 255
"""Grids read back from a file are those of its float32 header."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files that the tests only read."""
    folder = tmp_path_factory.mktemp("transform")
    affine = np.array(MOVING.affine)

    def saved(name: str, data: Any, affine: Any) -> str:
        nib.save(nib.Nifti1Image(data, affine), folder / name)
        return str(folder / name)

    field = Displacement(smooth_displacement(FIXED.shape, 0.5), FIXED)
    write_warp(folder / "warp.nii.gz", Transform.voxelwise(field, FIXED))
    write_affine(folder / "affine.txt", matrix())
    (folder / "points.csv").write_text("x,y,z,name\n38.5,-16.5,24.5,a\n39,-17,25,b\n")
    scan = textured(MOVING.shape)
    return {
        "scan": saved("scan.nii.gz", scan, affine),
        "labels": saved("labels.nii.gz", parcellation(MOVING.shape, (0, 2, 12175)), affine),
        "series": saved("series.nii.gz", np.stack([scan, scan / 2], axis=-1), affine),
        "reference": saved("reference.nii.gz", np.zeros(FIXED.shape, np.uint8), FIXED.affine),
        "warp": str(folder / "warp.nii.gz"),
        "affine": str(folder / "affine.txt"),
        "points": str(folder / "points.csv"),
    }


@pytest.fixture
def transform(files: dict[str, str]) -> Run:
    """Runs vm-transform; names of `files` in braces are filled in."""

    def run(line: str, **more: object) -> Result:
        arguments = line.format(**files, **more).split()
        return CliRunner().invoke(main, arguments)

    return run


def expected_chain(files: dict[str, str]) -> Chain:
    return Chain((read_warp(files["warp"]), AffineStep(matrix())))


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_images(transform: Run, files: dict[str, str], tmp_path: Path, interpolation: Any) -> None:
    out = tmp_path / "moved.nii.gz"
    result = transform(
        "-i {scan} -r {reference} -t {warp} -t {affine} --interp {how} -o {out} --threads 2",
        out=out,
        how=interpolation,
    )
    assert (result.exit_code, result.output) == (0, "")
    image = nib.load(out)
    scan = Volume(textured(MOVING.shape), MOVING)
    expected = expected_chain(files).resample(scan, FIXED, interpolation)
    assert image.get_data_dtype() == np.float32
    difference = np.abs(np.asarray(image.dataobj) - expected.data)
    assert difference.max() < HEADER_DIFFERENCE
    np.testing.assert_allclose(image.affine, FIXED.affine, atol=1e-4)


@pytest.mark.parametrize("interpolation", ["nearest", "label"])
def test_labels(transform: Run, files: dict[str, str], tmp_path: Path, interpolation: Any) -> None:
    out = tmp_path / "moved.nii.gz"
    line = "-i {labels} -r {reference} -t {warp} -t {affine} --interp {how} -o {out}"
    assert transform(line, out=out, how=interpolation).exit_code == 0
    image = nib.load(out)
    labels = Volume(parcellation(MOVING.shape, (0, 2, 12175)), MOVING)
    expected = expected_chain(files).resample(labels, FIXED, interpolation).data
    assert image.get_data_dtype() == np.int16
    assert set(np.unique(image.dataobj)) == {0, 2, 12175}
    # A place within the header's rounding of a border may fall to either side.
    assert (np.asarray(image.dataobj) != expected).mean() < 1e-3


def test_confidence(transform: Run, tmp_path: Path) -> None:
    result = transform(
        "-i {labels} -r {reference} -t {affine} --interp label "
        "-o {out}/l.nii --confidence {out}/c.nii",
        out=tmp_path,
    )
    assert result.exit_code == 0
    weights = nib.load(tmp_path / "c.nii")
    assert weights.get_data_dtype() == np.float32
    assert weights.shape == FIXED.shape
    assert np.asarray(weights.dataobj).min() >= 0.125
    assert np.asarray(weights.dataobj).max() == 1


def test_series(transform: Run, tmp_path: Path) -> None:
    out = tmp_path / "moved.nii.gz"
    assert transform("-i {series} -r {reference} -t {warp} -o {out}", out=out).exit_code == 0
    data = np.asarray(nib.load(out).dataobj)
    assert data.shape == (*FIXED.shape, 2)
    np.testing.assert_allclose(data[..., 1], data[..., 0] / 2, atol=1e-4)


def test_points_and_back(transform: Run, files: dict[str, str], tmp_path: Path) -> None:
    there, back = tmp_path / "there.csv", tmp_path / "back.csv"
    chain = "-t {warp} -t {affine}"
    line = f"--points {{points}} --direction fixed-to-moving {chain} -o {there}"
    assert transform(line).exit_code == 0
    found = np.loadtxt(there, delimiter=",", skiprows=1, usecols=(0, 1, 2))
    given = np.array([[38.5, -16.5, 24.5], [39, -17, 25]])
    np.testing.assert_allclose(found, expected_chain(files).map(given), atol=1e-5)
    assert np.abs(found - given).max() > 1
    line = f"--points {there} --direction moving-to-fixed {chain} -o {back}"
    assert transform(line).exit_code == 0
    found = np.loadtxt(back, delimiter=",", skiprows=1, usecols=(0, 1, 2))
    np.testing.assert_allclose(found, given, atol=2e-3)
    assert back.read_text().splitlines()[0] == "x,y,z,name"
    assert back.read_text().splitlines()[2].endswith(",b")


def test_inverse_of_an_affine(transform: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    line = "--points {points} --direction fixed-to-moving -t {affine} -t [{affine},1] -o {out}"
    assert transform(line, out=out).exit_code == 0
    assert out.read_text().splitlines()[1] == "38.500000,-16.500000,24.500000,a"


def test_an_fsl_matrix(transform: Run, files: dict[str, str], tmp_path: Path) -> None:
    from vmruntime.io.series import read_grid

    grids = {"moving": read_grid(files["scan"]), "fixed": read_grid(files["reference"])}
    write_affine(tmp_path / "flirt.mat", matrix(), **grids)
    for name, how in (("fsl", str(tmp_path / "flirt.mat")), ("itk", files["affine"])):
        out = tmp_path / f"{name}.nii"
        line = "-i {scan} -r {reference} -t {how} -o {out}"
        assert transform(line, how=how, out=out).exit_code == 0
    one, other = (nib.load(tmp_path / f"{name}.nii").get_fdata() for name in ("fsl", "itk"))
    np.testing.assert_allclose(one, other, atol=HEADER_DIFFERENCE)
    line = (
        "--points {points} --direction fixed-to-moving -t {how} -o {out} -i {scan} -r {reference}"
    )
    out = tmp_path / "points.csv"
    assert transform(line, how=tmp_path / "flirt.mat", out=out).exit_code == 0
    found = np.loadtxt(out, delimiter=",", skiprows=1, usecols=(0, 1, 2))
    np.testing.assert_allclose(
        found[0], applied(matrix(), np.array([38.5, -16.5, 24.5])), atol=1e-5
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-i {scan} -r {reference} -o o.nii", "-t"),
        ("-i {scan} -o o.nii -t {affine}", "-i and -r"),
        ("-r {reference} -o o.nii -t {affine}", "-i and -r"),
        ("--points {points} -o o.csv -t {affine}", "--direction"),
        ("-i {scan} -r {reference} -o o.nii -t {affine} --direction fixed-to-moving", "--points"),
        ("-i {scan} -r {reference} -o o.nii -t {affine} --confidence c.nii", "--interp label"),
        (
            "--points {points} --direction fixed-to-moving --interp cubic -o o.csv -t {affine}",
            "for images",
        ),
        ("-i {scan} -r {reference} -o o.nii -t [{affine}]", "[FILE,1]"),
        ("-i {scan} -r {reference} -o o.nii -t [{affine},2]", "[FILE,1]"),
        ("-i {scan} -r {reference} -o o.nii -t {affine} --interp sinc", "sinc"),
    ],
)
def test_wrong_usage(transform: Run, line: str, message: str) -> None:
    result = transform(line)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-i none.nii -r {reference} -o {out}/o.nii -t {affine}", "no such file"),
        ("-i {scan} -r none.nii -o {out}/o.nii -t {affine}", "no such file"),
        ("-i {scan} -r {reference} -o {out}/o.nii -t none.txt", "no such file"),
        ("-i {scan} -r {reference} -o {out}/o.nii -t {scan}", "intent 1007"),
        ("-i {scan} -r {reference} -o {out}/o.nii -t {points}", "no transform known here"),
        ("-i {scan} -r {reference} -o {out}/o.nii -t [{warp},1]", "inverse"),
        ("-i {warp} -r {reference} -o {out}/o.nii -t {affine}", "5 axes"),
        ("-i {scan} -r {reference} -o {out}/o.nii -t {affine} --interp label", "whole numbers"),
        ("-i {scan} -r {reference} -o {out}/o.png -t {affine}", ".nii"),
        ("-i {scan} -r {reference} -o {out}/no/o.nii -t {affine}", "directory"),
        ("-i {scan} -r {reference} -o {out}/old.nii -t {affine}", "--force"),
        ("--points {scan} --direction fixed-to-moving -o {out}/o.csv -t {affine}", "csv"),
        ("--points {points} --direction fixed-to-moving -o {out}/o.txt -t {affine}", ".csv"),
    ],
)
def test_failures(transform: Run, tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "old.nii").write_text("old")
    before = snapshot(tmp_path)
    result = transform(line, out=tmp_path)
    assert message in one_error_line(result.exit_code, result.stderr)
    assert result.stdout == ""
    assert snapshot(tmp_path) == before


def test_points_without_an_inverse(transform: Run, tmp_path: Path) -> None:
    """The field is moved as a whole, so that places at its edge are reached by nothing."""
    from vmruntime.chain import WarpStep
    from worlds import itk_field

    sitk = pytest.importorskip("SimpleITK", reason="the test extra is not installed")
    field = np.full((*FIXED.shape, 3), 4, np.float32)
    sitk.WriteImage(itk_field(sitk, WarpStep(field, FIXED)), str(tmp_path / "shift.nii.gz"))
    inner = FIXED.affine[:3, :3] @ [0.2, 0.2, 0.2] + FIXED.affine[:3, 3] + [0.1, 0, 0]
    rows = ["x,y,z", ",".join(map(str, inner))]
    (tmp_path / "edge.csv").write_text("\n".join(rows))
    line = (
        "--points {out}/edge.csv --direction moving-to-fixed -t {out}/shift.nii.gz -o {out}/o.csv"
    )
    result = transform(line, out=tmp_path)
    assert "no inverse" in one_error_line(result.exit_code, result.stderr)
    assert not (tmp_path / "o.csv").exists()


def test_force_and_a_process_of_its_own(files: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "moved.nii.gz"
    out.write_text("old")
    arguments = ["-i", files["scan"], "-r", files["reference"], "-t", files["affine"], "-o", out]
    assert outside("transform", *arguments).returncode == 1
    done = outside("transform", *arguments, "--force")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert nib.load(out).shape == FIXED.shape


def test_help_spells_out_the_direction(transform: Run) -> None:
    text = " ".join(transform("--help").output.split())
    assert "Points go the other way" in text
