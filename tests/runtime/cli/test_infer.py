"""vm-infer on a pair that fits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner, Result

from command_line import one_error_line
from synthetic_scans import MODEL_SHAPE, affine_of, parcellation, textured, write_nifti
from vmruntime import Registrar, __version__
from vmruntime.cli.infer import main as vm_infer
from vmruntime.cuda.probe import probe
from vmruntime.io.affine_files import read_affine, write_affine
from vmruntime.io.images import read_labels, read_scan
from vmruntime.kernels import kernels_in_use

Run = Callable[..., Result]


@pytest.fixture
def everything(infer: Run, tmp_path: Path, pair: dict[str, Path]) -> Result:
    """A run of the reference engine that writes all outputs but the figure."""
    return infer(
        "--backend",
        "onnxruntime",
        "--device",
        "cpu",
        moved=tmp_path / "moved.nii.gz",
        warp=tmp_path / "warp.nii.gz",
        inverse_warp=tmp_path / "inverse.nii",
        moving_seg=pair["moving_seg"],
        moved_seg=tmp_path / "labels.nii.gz",
        fixed_seg=pair["fixed_seg"],
        report=tmp_path / "qc.json",
    )


def test_writes_everything(everything: Result, tmp_path: Path) -> None:
    assert everything.exit_code == 0, everything.stderr
    assert everything.stderr == ""
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["inverse.nii", "labels.nii.gz", "moved.nii.gz", "qc.json", "warp.nii.gz"]


def test_the_files_are_what_the_library_gives(
    everything: Result, tmp_path: Path, tiny_artifact: Path, pair: dict[str, Path]
) -> None:
    with Registrar.load(tiny_artifact, backend="onnxruntime", device="cpu", threads=2) as registrar:
        result = registrar.register(pair["moving"], pair["fixed"], inverse=True)
        labels = result.warp_labels(pair["moving_seg"])
    moved = nib.load(tmp_path / "moved.nii.gz")
    np.testing.assert_array_equal(np.asarray(moved.dataobj), result.moved.data)
    np.testing.assert_array_equal(moved.affine, nib.load(pair["fixed"]).affine)
    written = read_labels(tmp_path / "labels.nii.gz")
    np.testing.assert_array_equal(written.data, labels.data)
    assert written.data.dtype == read_labels(pair["moving_seg"]).data.dtype == np.int16
    assert 12175 in written.data
    assert result.inverse is not None
    lps = np.float32([-1, -1, 1])
    for name, transform in (("warp.nii.gz", result.transform), ("inverse.nii", result.inverse)):
        offsets = np.asarray(nib.load(tmp_path / name).dataobj)[:, :, :, 0]
        np.testing.assert_array_equal(offsets, transform.displacement_mm() * lps)


def test_the_warp_in_simpleitk(everything: Result, tmp_path: Path, pair: dict[str, Path]) -> None:
    """Issue 2: below 1e-3 of the intensity range, in the interior."""
    sitk = pytest.importorskip("SimpleITK", reason="the test extra is not installed")
    warp = sitk.ReadImage(str(tmp_path / "warp.nii.gz"), sitk.sitkVectorFloat64)
    moving, fixed = (sitk.ReadImage(str(pair[name])) for name in ("moving", "fixed"))
    transform = sitk.DisplacementFieldTransform(warp)
    found = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, transform, sitk.sitkLinear)).T
    expected = nib.load(tmp_path / "moved.nii.gz").get_fdata(dtype=np.float32)
    interior = (slice(3, -3),) * 3  # the displacement is at most 1.5 voxels
    assert np.abs(found - expected)[interior].max() < 1e-3 * 255


def test_report(everything: Result, tmp_path: Path, tiny_artifact: Path) -> None:
    facts = json.loads((tmp_path / "qc.json").read_text())
    assert list(facts) == [
        "version", "similarity", "dice", "regularity", "foreground_dice", "foreground_outside",
        "inverse_consistency", "volumes_mm3", "affine", "warnings", "wall", "seconds", "engine",
        "inputs", "versions", "manifest",
    ]  # fmt: skip
    for when in ("before", "after"):
        assert set(facts["similarity"][when]) == {"mse", "ncc", "local_ncc"}
        assert set(facts["dice"][when]["labels"]) == {"2", "41", "2035", "12175"}
        dice = list(facts["dice"][when]["labels"].values())
        assert facts["dice"][when]["mean"] == pytest.approx(np.mean(dice))
    folding = facts["regularity"]
    assert set(folding) == {"folding_voxels", "folding_percent", "sd_log_jacobian"}
    assert folding["folding_percent"] == pytest.approx(
        100 * folding["folding_voxels"] / np.prod(MODEL_SHAPE)
    )
    assert {"load", "read", "network", "resample", "measure", "write"} <= set(facts["seconds"])
    assert facts["engine"]["backend"] == "onnxruntime"
    assert facts["engine"]["device"] == "cpu"
    assert facts["engine"]["precision"] == "fp32"
    assert facts["engine"]["threads"] == 2
    assert facts["engine"]["verified"] is True
    assert facts["versions"]["voxelmorph-deploy"] == __version__
    with Registrar.load(tiny_artifact) as registrar:
        assert facts["manifest"] == json.loads(json.dumps(registrar.manifest.to_dict()))


def test_summary(everything: Result) -> None:
    lines = everything.stdout.splitlines()
    assert lines[0].startswith("onnxruntime ")
    assert lines[0].endswith(f"on cpu, fp32, 2 threads, kernels {kernels_in_use()}; affine: none")
    assert lines[1].split() == ["before", "after"]
    assert [line.split("  ")[0] for line in lines[2:]] == [
        "MSE", "NCC", "Dice, 4 labels", "folding", "inverse", "seconds",
    ]  # fmt: skip


def test_figure(infer: Run, tmp_path: Path, pair: dict[str, Path]) -> None:
    pytest.importorskip("matplotlib", reason="the figure extra is not installed")
    result = infer(moving_seg=pair["moving_seg"], figure=tmp_path / "qc.png")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "qc.png").read_bytes().startswith(b"\x89PNG")


def test_dice_of_chosen_labels(infer: Run, tmp_path: Path, pair: dict[str, Path]) -> None:
    result = infer(
        "--dice-labels", "41,2",
        moving_seg=pair["moving_seg"], fixed_seg=pair["fixed_seg"], report=tmp_path / "qc.json",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "Dice, 2 labels" in result.stdout
    assert set(json.loads((tmp_path / "qc.json").read_text())["dice"]["after"]["labels"]) == {
        "2", "41",
    }  # fmt: skip


def test_no_common_labels(infer: Run, tmp_path: Path, pair: dict[str, Path]) -> None:
    other = write_nifti(tmp_path / "other.nii", np.full(MODEL_SHAPE, 9, np.uint8))
    result = infer(moving_seg=pair["moving_seg"], fixed_seg=other, report=tmp_path / "qc.json")
    assert result.exit_code == 0, result.stderr
    assert json.loads((tmp_path / "qc.json").read_text())["dice"]["after"] == {
        "mean": None, "labels": {},
    }  # fmt: skip


@pytest.mark.parametrize("option", ["moved", "warp", "inverse_warp", "report"])
def test_one_output_is_enough(infer: Run, tmp_path: Path, option: str) -> None:
    name = "out.json" if option == "report" else "out.nii.gz"
    result = infer(**{option: tmp_path / name})
    assert result.exit_code == 0, result.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_verbose_says_what_is_done(infer: Run, tmp_path: Path) -> None:
    result = infer("-v", moved=tmp_path / "moved.nii")
    assert result.exit_code == 0
    lines = [line.removesuffix(" ...") for line in result.stderr.splitlines()]
    said = [line for line in lines if not line.startswith("passed over ")]
    assert said[:2] == ["load", "read"]


def test_verbose_says_why_an_engine_was_passed_over(infer: Run, tmp_path: Path) -> None:
    if probe().devices:
        pytest.skip("there is a GPU here")
    result = infer("-v", "--backend", "onnxruntime", moved=tmp_path / "moved.nii")
    assert result.exit_code == 0
    passed = [line for line in result.stderr.splitlines() if line.startswith("passed over ")]
    assert passed == [f"passed over onnxruntime on cuda: {probe().reason}"]
    assert result.stdout.startswith("onnxruntime ")
    assert " on cpu, fp32, " in result.stdout


def test_warnings_are_on_stderr(infer: Run, tmp_path: Path) -> None:
    for name, options, count in [
        ("a", ("--intensity", "none"), 2),
        ("b", ("--moving-intensity", "none"), 1),
        ("c", ("--intensity", "divide:100000"), 2),
        ("d", ("--intensity", "minmax"), 0),
    ]:
        result = infer(*options, moved=tmp_path / f"{name}.nii")
        assert result.exit_code == 0, result.stderr
        lines = result.stderr.splitlines()
        assert len(lines) == count
        assert all(line.startswith("Warning: ") and "--intensity" in line for line in lines)


def test_force(infer: Run, tmp_path: Path) -> None:
    path = tmp_path / "moved.nii.gz"
    path.write_text("old")
    result = infer("--force", moved=path)
    assert result.exit_code == 0
    assert nib.load(path).shape == MODEL_SHAPE


def test_an_input_may_be_replaced_with_force(
    infer: Run, tmp_path: Path, pair: dict[str, Path]
) -> None:
    """It was read before; and without --force it is refused like any existing file."""
    path = tmp_path / "moving.nii"
    nib.save(nib.load(pair["moving"]), path)
    expected = tmp_path / "expected.nii"
    assert infer(moved=expected).exit_code == 0
    assert infer("--force", moving=path, moved=path).exit_code == 0
    assert path.read_bytes() == expected.read_bytes()


@pytest.mark.parametrize("kind", ["nifti2", "mgz", "trailing", "big-endian"])
def test_kinds_of_files(infer: Run, tmp_path: Path, kind: str) -> None:
    data: Any = textured(MODEL_SHAPE, 1)
    if kind == "nifti2":
        fixed = write_nifti(tmp_path / "fixed.nii", data, kind=nib.Nifti2Image)
    elif kind == "mgz":
        fixed = tmp_path / "fixed.mgz"
        nib.save(nib.MGHImage(data, affine_of()), fixed)
    elif kind == "trailing":
        fixed = write_nifti(tmp_path / "fixed.nii", data[..., None, None])
    else:
        fixed = tmp_path / "fixed.nii"
        header = nib.Nifti1Header(endianness=">")
        header.set_data_dtype(np.float32)
        header.set_xyzt_units("mm")
        nib.save(nib.Nifti1Image(data, affine_of(), header), fixed)
    result = infer(fixed=fixed, moved=tmp_path / "moved.nii.gz", warp=tmp_path / "warp.nii.gz")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    moved = nib.load(tmp_path / "moved.nii.gz")
    assert moved.shape == MODEL_SHAPE
    np.testing.assert_allclose(moved.affine, affine_of(), atol=1e-4)
    assert isinstance(moved, nib.Nifti2Image) is (kind == "nifti2")


# Scans of any grid, and everything that can be written --------------------------------------------


@pytest.fixture
def native(tmp_path: Path) -> dict[str, Path]:
    """A pair on grids of its own, with labels of the moving scan."""
    folder = tmp_path / "native"
    folder.mkdir()
    shape = (19, 35, 27)
    affine = affine_of("RSP", (1.4, 1.9, 2.2), (-16, 11, -2))
    return {
        "moving": write_nifti(folder / "moving.nii.gz", textured(shape, 3), affine),
        "fixed": write_nifti(
            folder / "fixed.nii.gz", textured((21, 17, 30), 4), affine_of("LAS", (1.6, 2.3, 1.7))
        ),
        "seg": write_nifti(folder / "seg.nii.gz", parcellation(shape, (0, 3, 42, 12175)), affine),
        "other_seg": write_nifti(
            folder / "other.nii.gz", parcellation(shape, (0, 1, 2), 6).astype(np.uint8), affine
        ),
    }


@pytest.fixture
def shear(tmp_path: Path) -> Path:
    """An affine of the native pair, in a file."""
    matrix = np.eye(4)
    matrix[:3] = [[0.98, 0.06, -0.03, 2], [-0.05, 1.04, 0.08, -1], [0.04, -0.07, 0.95, 1]]
    path = tmp_path / "native" / "given.txt"
    write_affine(path, matrix)
    return path


def test_scans_of_any_grid(infer: Run, native: dict[str, Path], shear: Path) -> None:
    out = shear.parent / "out"
    out.mkdir()
    result = infer(
        "--affine", shear, "--interp", "label",
        "--moving-seg", native["seg"], "--moved-seg", out / "one.nii.gz",
        "--moving-seg", native["other_seg"], "--moved-seg", out / "two.nii.gz",
        "--confidence", out / "share.nii.gz", "--jacobian", out / "jacobian.nii.gz",
        "--warp", out / "warp.h5", "--inverse-warp", out / "inverse.nii.gz",
        "--report", out / "qc.json",
        moving=native["moving"], fixed=native["fixed"], moved=out / "moved.nii.gz",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    fixed = nib.load(native["fixed"])
    images = {
        name: nib.load(out / f"{name}.nii.gz")
        for name in ("moved", "one", "two", "share", "jacobian")
    }
    for image in images.values():
        assert image.shape == fixed.shape
        np.testing.assert_allclose(image.affine, fixed.affine, atol=1e-4)
    assert images["one"].get_data_dtype() == np.int16
    assert images["two"].get_data_dtype() == np.uint8
    assert set(np.unique(images["one"].dataobj)) == {0, 3, 42, 12175}
    assert set(np.unique(images["two"].dataobj)) == {0, 1, 2}
    shares = np.asarray(images["share"].dataobj)
    assert shares.dtype == np.float32
    assert shares.min() > 0.12  # the largest of eight shares
    assert shares.max() == 1
    assert nib.load(out / "inverse.nii.gz").shape[:3] == nib.load(native["moving"]).shape
    facts = json.loads((out / "qc.json").read_text())
    assert facts["affine"]["source"] == str(shear)
    np.testing.assert_allclose(facts["affine"]["matrix"], read_affine(shear))
    assert facts["affine"]["correlation"] is None
    assert set(facts["foreground_outside"]) == {"moving", "fixed"}
    assert set(facts["inverse_consistency"]) == {"mean_mm", "p99_mm", "max_mm"}
    assert set(facts["volumes_mm3"]) == {"3", "42", "12175"}
    voxel = 1.6 * 2.3 * 1.7
    count = np.count_nonzero(np.asarray(images["one"].dataobj) == 42)
    assert facts["volumes_mm3"]["42"] == pytest.approx(voxel * count, rel=1e-5)
    assert all(set(warning) == {"code", "text"} for warning in facts["warnings"])
    # The composite is the transform that was used.
    sitk = pytest.importorskip("SimpleITK", reason="the test extra is not installed")
    field = sitk.ReadTransform(str(out / "warp.h5"))
    scans = [sitk.ReadImage(str(native[name]), sitk.sitkFloat64) for name in ("moving", "fixed")]
    found = sitk.GetArrayFromImage(sitk.Resample(*scans, field, sitk.sitkLinear, 0.0)).T
    interior = (slice(3, -3),) * 3
    moved = images["moved"].get_fdata()
    seen = (found > 0) & (moved > 0)
    assert seen[interior].mean() > 0.3
    inner = np.zeros(seen.shape, bool)
    inner[interior] = True
    # ITK does not blend zeros in at the moving scan's border, which is dark itself.
    assert np.abs(found - moved)[inner].max() < 1e-3 * 255


def test_compression_changes_the_size_and_nothing_else(infer: Run, tmp_path: Path) -> None:
    sizes, moved, warps = [], [], []
    for level in (0, 3):
        files = [tmp_path / f"{name}{level}.nii.gz" for name in ("moved", "warp")]
        result = infer("--compression", str(level), moved=files[0], warp=files[1])
        assert result.exit_code == 0, result.stderr
        sizes.append([path.stat().st_size for path in files])
        moved.append(np.asarray(nib.load(files[0]).dataobj))
        warps.append(np.asarray(nib.load(files[1]).dataobj))
    assert sizes[1][0] < sizes[0][0]
    assert sizes[1][1] < sizes[0][1]
    np.testing.assert_array_equal(*moved)
    np.testing.assert_array_equal(*warps)


@pytest.mark.parametrize("name", ["a.txt", "a.tfm", "a.mat", "a.lta"])
def test_the_affine_is_written(infer: Run, native: dict[str, Path], shear: Path, name: str) -> None:
    out = shear.parent / f"written_{name}"
    files = {"moving": native["moving"], "fixed": native["fixed"]}
    result = infer("--affine", shear, "--affine-out", out, **files)
    assert result.exit_code == 0, result.stderr
    grids = {role: read_scan(native[role]).grid for role in ("moving", "fixed")}
    np.testing.assert_allclose(read_affine(out, **grids), read_affine(shear), atol=1e-5)
    # Used again it gives the same image.
    moved = [shear.parent / f"{n}.nii" for n in "ab"]
    for affine, path in zip((shear, out), moved, strict=True):
        assert infer("--affine", affine, moved=path, **files).exit_code == 0
    one, other = (nib.load(path).get_fdata() for path in moved)
    assert np.abs(one - other).max() < 1e-3 * 255


@pytest.mark.parametrize("grid", ["fixed", "moving", "model", "FILE"])
def test_grids(
    infer: Run, native: dict[str, Path], shear: Path, pair: dict[str, Path], grid: str
) -> None:
    out = shear.parent / "moved.nii.gz"
    seg = shear.parent / "labels.nii.gz"
    result = infer(
        "--affine", shear, "--grid", pair["fixed"] if grid == "FILE" else grid,
        "--moving-seg", native["seg"], "--moved-seg", seg,
        moving=native["moving"], fixed=native["fixed"], moved=out,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    shape = {
        "fixed": (21, 17, 30), "moving": (19, 35, 27), "model": MODEL_SHAPE, "FILE": MODEL_SHAPE,
    }[grid]  # fmt: skip
    for path in (out, seg):
        image = nib.load(path)
        assert image.shape == shape
        if grid != "model":
            like = pair["fixed"] if grid == "FILE" else native[grid]
            np.testing.assert_allclose(image.affine, nib.load(like).affine, atol=1e-4)


def test_scans_that_do_not_match(infer: Run, tmp_path: Path, native: dict[str, Path]) -> None:
    """Noise: one line, nothing written; --force-affine goes on with a warning or two."""
    noise = np.random.default_rng(0).uniform(0, 255, (19, 35, 27)).astype(np.float32)
    moving = write_nifti(tmp_path / "noise.nii", noise, affine_of("LIA", (3.0, 3.0, 3.0)))
    out = tmp_path / "moved.nii.gz"
    result = infer(moving=moving, fixed=native["fixed"], moved=out)
    line = one_error_line(result.exit_code, result.stderr)
    assert f"{moving} could not be aligned to {native['fixed']}: " in line
    assert "--affine" in line
    assert not out.exists()
    result = infer("--force-affine", moving=moving, fixed=native["fixed"], moved=out)
    assert result.exit_code == 0, result.stderr
    assert all(line.startswith("Warning: ") for line in result.stderr.splitlines())
    assert "affine: auto, correlation" in result.stdout
    assert out.exists()


def test_the_stages_do_not_exceed_the_wall(
    infer: Run, native: dict[str, Path], shear: Path
) -> None:
    """Each second is counted once; what is short of the wall is small in a long run only."""
    out = shear.parent / "stages"
    out.mkdir()
    result = infer(
        "--affine", shear, "--moving-seg", native["seg"], "--moved-seg", out / "seg.nii",
        "--jacobian", out / "j.nii", "--inverse-warp", out / "i.nii", "--report", out / "qc.json",
        moving=native["moving"], fixed=native["fixed"],
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    facts = json.loads((out / "qc.json").read_text())
    assert {
        "start", "load", "read", "align", "prepare", "network", "invert", "resample",
        "measure", "write",
    } <= set(facts["seconds"])  # fmt: skip
    # Each is rounded to a tenth of a millisecond.
    assert sum(facts["seconds"].values()) <= facts["wall"] + 1e-4 * len(facts["seconds"])


# Usage -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        ([], "Missing argument 'MODEL'"),
        (["model.onnx"], "Missing option '--moving'"),
        (["model.onnx", "--moving", "m.nii"], "Missing option '--fixed'"),
        (["model.onnx", "--moving", "m.nii", "--fixed", "f.nii"], "nothing to write"),
        (["--moved-seg", "o.nii"], "1 --moved-seg for 0 --moving-seg"),
        (["--fixed-seg", "o.nii"], "give --moving-seg"),
        (["--confidence", "c.nii"], "--confidence needs --moving-seg and --interp label"),
        (["--moving-seg", "s.nii", "--confidence", "c.nii"], "--confidence needs --moving-seg"),
        (["--interp", "linear"], "'linear' is not one of"),
        (["--affine-search", "all"], "'all' is not one of"),
        (["--intensity", "auto"], "is no intensity rule"),
        (["--intensity", ""], "is no intensity rule"),
        (["--moving-intensity", "divide:0"], "is no intensity rule"),
        (["--backend", "tensorflow"], "'tensorflow' is not one of"),
        (["--device", "tpu"], "'tpu' is not"),
        (["--device", "cuda:first"], "'cuda:first' is not one of auto, cpu, cuda, cuda:N"),
        (["--precision", "int8"], "'int8' is not one of"),
        (["--threads", "0"], "0 is not in the range"),
        (["--compression", "4"], "4 is not in the range"),
        (["--dice-labels", "1,x"], "positive whole numbers"),
        (["--sharpen"], "No such option"),
    ],
)
def test_usage_errors(arguments: list[str], fact: str, tmp_path: Path) -> None:
    if arguments and arguments[0].startswith("--"):
        given = ["model.onnx", "--moving", "m.nii", "--fixed", "f.nii"]
        arguments = [*given, "--moved", str(tmp_path / "o.nii"), *arguments]
    result = CliRunner().invoke(vm_infer, arguments)
    assert result.exit_code == 2
    assert fact in " ".join(result.stderr.split())
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_help_and_version() -> None:
    for flag in ("-h", "--help"):
        result = CliRunner().invoke(vm_infer, [flag])
        assert result.exit_code == 0
        assert "--moving-seg" in result.stdout
    assert __version__ in CliRunner().invoke(vm_infer, ["--version"]).stdout
