"""What vm-infer refuses: one line with the file, the fact and what to do, and nothing written."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from command_line import one_error_line, outside, snapshot
from synthetic_scans import MODEL_SHAPE, affine_of, parcellation, textured, write_nifti
from vmruntime import Manifest

Refused = Callable[..., str]

SCAN = textured(MODEL_SHAPE)
MANIFEST_KEY = "vxm.manifest"


def header_changed(path: Path, **fields: Any) -> Path:
    """A valid scan with some header fields overwritten."""
    write_nifti(path, SCAN)
    content = path.read_bytes()
    header = nib.Nifti1Header(content[:348], check=False)
    for name, value in fields.items():
        header.structarr[name] = value
    path.write_bytes(header.binaryblock + content[348:])
    return path


def with_value(value: float) -> np.ndarray:
    data = SCAN.copy()
    data[3, 4, 5] = value
    return data


def cut(path: Path, left: float) -> Path:
    write_nifti(path, SCAN + np.random.default_rng(0).random(MODEL_SHAPE, np.float32))
    content = path.read_bytes()
    path.write_bytes(content[: int(left * len(content)) if 0 < left < 1 else int(left)])
    return path


def text(path: Path) -> Path:
    path.write_text("This is no scan, but a text that somebody saved under this name.\n" * 20)
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def rgb(path: Path) -> Path:
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    return write_nifti(path, np.zeros(MODEL_SHAPE, kind))


FLAT = {"srow_x": [0, 0, 0, 1], "srow_y": [0, 0, -2, 1], "srow_z": [0, -2, 0, 1]}

BAD: dict[str, tuple[str, Callable[[Path], Path], str]] = {
    # name: (file name, how to make it, what the message says)
    "text.nii": ("a.nii", text, "cannot be read as NIfTI"),
    "text.nii.gz": ("a.nii.gz", text, "cannot be read as NIfTI"),
    "text.mgz": ("a.mgz", text, "cannot be read as NIfTI"),
    "packed text": ("a.nii.gz", lambda p: gz(p, b"no scan " * 500), "cannot be read as NIfTI"),
    "unknown suffix": ("a.dcm", text, "cannot be read as NIfTI"),
    "empty": ("a.nii.gz", empty, "the file is empty"),
    "missing": ("a.nii.gz", lambda p: p, "no such file"),
    "directory": ("a.nii.gz", folder, "is a directory"),
    "cut .nii.gz 1": ("a.nii.gz", lambda p: cut(p, 1), "cannot be read"),
    "cut .nii.gz 10": ("a.nii.gz", lambda p: cut(p, 10), "cannot be read"),
    "cut .nii.gz 300": ("a.nii.gz", lambda p: cut(p, 300), "cannot be read"),
    "cut .nii.gz half": ("a.nii.gz", lambda p: cut(p, 0.5), "truncated or damaged"),
    "cut .nii.gz most": ("a.nii.gz", lambda p: cut(p, 0.99), "truncated or damaged"),
    "cut .nii.gz -1": ("a.nii.gz", lambda p: cut(p, -1), "truncated or damaged"),
    "cut .nii header": ("a.nii", lambda p: cut(p, 200), "cannot be read"),
    "cut .nii at once": ("a.nii", lambda p: cut(p, 352), "more than the file can hold"),
    "cut .nii half": ("a.nii", lambda p: cut(p, 0.5), "more than the file can hold"),
    "cut .nii -1": ("a.nii", lambda p: cut(p, -1), "truncated or damaged"),
    "NaN": ("a.nii.gz", lambda p: write_nifti(p, with_value(np.nan)), "NaN or infinite"),
    "infinite": ("a.nii.gz", lambda p: write_nifti(p, with_value(-np.inf)), "NaN or infinite"),
    "constant": ("a.nii.gz", lambda p: write_nifti(p, 0 * SCAN + 7), "every voxel is 7"),
    "zero": ("a.nii.gz", lambda p: write_nifti(p, 0 * SCAN), "every voxel is 0"),
    "series": ("a.nii.gz", lambda p: write_nifti(p, np.stack([SCAN, SCAN], -1)), "extract one"),
    "slice": ("a.nii.gz", lambda p: write_nifti(p, SCAN[0]), "a 3-D scan is needed"),
    "RGB": ("a.nii.gz", rgb, "a scan of real numbers is needed"),
    "complex": ("a.nii", lambda p: write_nifti(p, SCAN.astype("c8")), "real numbers is needed"),
    "singular": ("a.nii", lambda p: header_changed(p, **FLAT), "singular"),
    "affine of NaN": ("a.nii", lambda p: header_changed(p, srow_x=[np.nan] * 4), "finite"),
    "affine of 1e30": ("a.nii", lambda p: header_changed(p, srow_x=[1e30, 0, 0, 0]), "millimetres"),
    "no affine": ("a.nii", lambda p: header_changed(p, qform_code=0, sform_code=0), "no affine"),
    "huge": (
        "a.nii",
        lambda p: header_changed(p, dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]),
        "promises",
    ),
    "no dimensions": ("a.nii", lambda p: header_changed(p, dim=[0] * 8), "3-D scan is needed"),
    "negative": ("a.nii", lambda p: header_changed(p, dim=[3, -16, 32, 48, 1, 1, 1, 1]), "a.nii"),
    "no such type": ("a.nii", lambda p: header_changed(p, datatype=9999), "cannot be read"),
    "no magic": ("a.nii", lambda p: header_changed(p, magic=b"xyz"), "cannot be read"),
    "overflow": ("a.nii", lambda p: header_changed(p, scl_slope=3e38), "NaN or infinite"),
}

GRID = {
    "shape": (write_nifti, (15, 32, 48), "LIA", 2.0, "15 x 32 x 48 voxels instead of 16 x 32 x 48"),
    "orientation": (write_nifti, MODEL_SHAPE, "RAS", 2.0, "orientation RAS instead of LIA"),
    "voxels": (
        write_nifti,
        MODEL_SHAPE,
        "LIA",
        1.0,
        "voxels of 1 x 1 x 1 mm instead of 2 x 2 x 2 mm",
    ),
}


def gz(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content))
    return path


@pytest.mark.parametrize("role", ["moving", "fixed"])
@pytest.mark.parametrize("case", BAD)
def test_scans(refused: Refused, tmp_path: Path, case: str, role: str) -> None:
    name, make, fact = BAD[case]
    line = refused(**{role: make(tmp_path / name)})
    assert line.startswith(f"Error: {tmp_path / name}: ")
    assert fact in line
    assert len(line) < 400 + len(str(tmp_path))


LABELS = ["text.nii", "missing", "cut .nii.gz half", "cut .nii.gz -1", "NaN", "series", "RGB",
          "singular", "no affine", "huge"]  # fmt: skip


@pytest.mark.parametrize("role", ["moving_seg", "fixed_seg"])
@pytest.mark.parametrize("case", LABELS)
def test_labels(
    refused: Refused, tmp_path: Path, pair: dict[str, Path], case: str, role: str
) -> None:
    name, make, _ = BAD[case]
    files = {"moving_seg": pair["moving_seg"]} | {role: make(tmp_path / name)}
    line = refused(**files)
    assert line.startswith(f"Error: {tmp_path / name}: ")


@pytest.mark.parametrize("role", ["moving", "fixed"])
@pytest.mark.parametrize("case", GRID)
def test_grids(refused: Refused, tmp_path: Path, case: str, role: str) -> None:
    write, shape, orientation, size, fact = GRID[case]
    path = write(tmp_path / "a.nii", textured(shape), affine_of(orientation, (size,) * 3))
    line = refused("--affine", "none", **{role: path})
    assert line.startswith(f"Error: {path}: the {role} scan is not on the model's grid: {fact}")
    assert "resample it" in line


@pytest.mark.parametrize("role", ["moving_seg", "fixed_seg"])
@pytest.mark.parametrize("case", ["shape", "shift", "orientation"])
def test_labels_on_another_grid(
    refused: Refused, tmp_path: Path, pair: dict[str, Path], case: str, role: str
) -> None:
    shape = (16, 32, 40) if case == "shape" else MODEL_SHAPE
    affine = affine_of("RAS" if case == "orientation" else "LIA")
    affine[0, 3] += 1 if case == "shift" else 0
    path = write_nifti(tmp_path / "a.nii", parcellation(shape), affine)
    line = refused(**({"moving_seg": pair["moving_seg"]} | {role: path}))
    assert f"{path} lies on " in line
    assert "resample it" in line


def test_labels_that_are_not_whole(refused: Refused, tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", with_value(0.5))
    line = refused(moving_seg=path, moved_seg=tmp_path / "out.nii")
    assert line.startswith(f"Error: {path}: labels must be whole numbers")


# Models ------------------------------------------------------------------------------------------


def with_manifest(source: Path, target: Path, manifest: str | None) -> Path:
    onnx = pytest.importorskip("onnx", reason="the export extra is not installed")
    model = onnx.load_from_string(source.read_bytes())
    del model.metadata_props[:]
    if manifest is not None:
        onnx.helper.set_model_props(model, {MANIFEST_KEY: manifest})
    target.write_bytes(model.SerializeToString())
    return target


@pytest.mark.parametrize(
    ("written", "fact"),
    [
        (None, "without a manifest"),
        ('{"version":"2.0"}', "version 2.0, this runtime reads up to 1.x; update"),
        ('{"version":"1.0"', "not JSON"),
        ('{"version":"1.0"}', "stride"),
        ("[]", "not a JSON object"),
    ],
)
def test_manifests(
    refused: Refused, tiny_artifact: Path, tmp_path: Path, written: str | None, fact: str
) -> None:
    path = with_manifest(tiny_artifact, tmp_path / "model.onnx", written)
    line = refused(model=path)
    assert line.startswith(f"Error: {path}: ")
    assert fact in line


def test_a_model_that_is_not_what_its_manifest_says(
    refused: Refused, tiny_artifact: Path, tmp_path: Path, manifest: Manifest
) -> None:
    """Shape, outputs: the engine notices; it must be one line all the same."""
    from dataclasses import replace

    shape = (16, 32, 32)
    other = replace(manifest, shape=shape)
    path = with_manifest(tiny_artifact, tmp_path / "model.onnx", other.to_json())
    scan = write_nifti(tmp_path / "a.nii", textured(shape))
    assert str(path) in refused(model=path, moving=scan, fixed=scan)


@pytest.mark.parametrize("left", [1, 50, 0.3, 0.9, -1])
def test_truncated_models(
    refused: Refused, tiny_artifact: Path, tmp_path: Path, left: float
) -> None:
    content = tiny_artifact.read_bytes()
    path = tmp_path / "model.onnx"
    path.write_bytes(content[: int(left * len(content)) if 0 < left < 1 else int(left)])
    assert refused(model=path).startswith(f"Error: {path}: is ")


@pytest.mark.parametrize("make", [text, empty, folder, lambda path: path])
def test_no_models(refused: Refused, tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path / "model.onnx")
    assert refused(model=path).startswith(f"Error: {path}: ")


def test_an_onnx_graph_that_no_engine_takes(
    refused: Refused, tiny_artifact: Path, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx", reason="the export extra is not installed")
    model = onnx.load_from_string(tiny_artifact.read_bytes())
    model.graph.node[0].op_type = "NoSuchOperator"
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    line = refused(model=tmp_path / "model.onnx")
    assert "does not take" in line
    assert str(tmp_path / "model.onnx") in line


# Outputs -----------------------------------------------------------------------------------------


def test_an_existing_output(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "moved.nii.gz"
    path.write_text("old")
    line = refused(moved=path)
    assert line == f"Error: {path}: exists already; choose another name or pass --force"
    assert path.read_text() == "old"


def test_an_existing_output_survives_a_failure_even_with_force(
    refused: Refused, tmp_path: Path
) -> None:
    (tmp_path / "moved.nii.gz").write_text("old")
    refused("--force", moved=tmp_path / "moved.nii.gz", moving=tmp_path / "absent.nii")


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("absent/moved.nii.gz", "its directory does not exist; create it first"),
        ("file/moved.nii.gz", "Not a directory"),
        ("moved.mgz", "must end in .nii.gz or .nii"),
        ("moved", "must end in .nii.gz or .nii"),
        ("full.nii.gz", "not a regular file"),
        ("folder.nii.gz", "not a regular file"),
        ("/proc/moved.nii.gz", "cannot be written"),
        ("/sys/moved.nii.gz", "cannot be written"),
    ],
)
def test_outputs_that_cannot_be(refused: Refused, tmp_path: Path, name: str, fact: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.nii.gz").mkdir()
    (tmp_path / "full.nii.gz").symlink_to("/dev/full")
    path = tmp_path / name
    line = refused("--force", moved=path)
    assert line.startswith(f"Error: {path}: ")
    assert fact in line


@pytest.mark.parametrize("option", ["warp", "report", "inverse_warp"])
def test_wrong_suffixes(refused: Refused, tmp_path: Path, option: str) -> None:
    line = refused(**{option: tmp_path / "out.txt"})
    assert f"{tmp_path / 'out.txt'}: the output's name must end in " in line


def test_two_outputs_of_one_name(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "out.nii.gz"
    line = refused("--force", moved=path, warp=tmp_path / "out" / ".." / "out.nii.gz")
    assert "two outputs have this name" in line


def test_an_output_that_is_an_input(refused: Refused, tmp_path: Path) -> None:
    """Without --force; with it, the input was read before (see test_infer)."""
    path = write_nifti(tmp_path / "moving.nii.gz", SCAN)
    assert "exists already" in refused(moving=path, moved=path)


# In a process of its own: nothing of nibabel, onnxruntime or the interpreter on stderr ------------


@pytest.mark.parametrize(
    "case",
    ["cut .nii.gz half", "cut .nii.gz -1", "text.nii", "no such type", "overflow", "negative"],
)
def test_outside(case: str, tmp_path: Path, pair: dict[str, Path], tiny_artifact: Path) -> None:
    name, make, fact = BAD[case]
    path = make(tmp_path / name)
    before = snapshot(tmp_path)
    done = outside(
        "infer", tiny_artifact, "--moving", path, "--fixed", pair["fixed"],
        "--moved", tmp_path / "moved.nii.gz",
    )  # fmt: skip
    assert fact in one_error_line(done.returncode, done.stderr)
    assert done.stdout == ""
    assert snapshot(tmp_path) == before


def test_outside_a_bad_graph(tmp_path: Path, pair: dict[str, Path], tiny_artifact: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="the export extra is not installed")
    model = onnx.load_from_string(tiny_artifact.read_bytes())
    model.graph.node[0].op_type = "NoSuchOperator"
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    done = outside(
        "infer", tmp_path / "model.onnx", "--moving", pair["moving"], "--fixed", pair["fixed"],
        "--moved", tmp_path / "moved.nii.gz",
    )  # fmt: skip
    assert "does not take" in one_error_line(done.returncode, done.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
