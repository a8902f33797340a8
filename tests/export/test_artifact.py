"""From a network to a file that the runtime registers with."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import onnx
import pytest
import torch

from tiny_networks import SHAPE, STRIDE, SampledByHand, tiny_network
from vmexport.artifact import ExportOptions, export_artifact
from vmexport.errors import ExportError, VerificationError
from vmruntime import GridMismatchError, ManifestError, OutputError, Registrar
from vmruntime.artifact import Artifact
from vmruntime.manifest import MANIFEST_KEY

LIA = np.array([[-1, 0, 0, 8], [0, 0, 1, -9], [0, -1, 0, 7], [0, 0, 0, 1]], float)


def _scan(path: Path, seed: int = 0, affine: np.ndarray = LIA) -> Path:
    noise = np.random.default_rng(seed)
    nib.save(nib.Nifti1Image(noise.integers(0, 255, SHAPE).astype(np.uint8), affine), path)
    return path


def test_module_to_file_to_registration(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    options = ExportOptions(shape=SHAPE, stride=1, intensity="divide:200")
    module = SampledByHand().eval()
    manifest = export_artifact(module, path, options)
    assert Artifact.read(path).manifest == manifest
    assert manifest.source == {"layout": "module SampledByHand"}
    moving, fixed = _scan(tmp_path / "m.nii"), _scan(tmp_path / "f.nii", 1)
    with Registrar.load(path) as registrar:
        found = registrar.register(moving, fixed).transform.displacement.data
    with torch.inference_mode():
        scans = [
            torch.from_numpy(nib.load(p).get_fdata(dtype=np.float32) / 200) for p in (moving, fixed)
        ]
        expected = module(*(scan[None, None] for scan in scans))[0].numpy()
    assert np.abs(found - expected).max() < 1e-3  # the limit that the export promises


def test_the_manifest_in_the_file_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    options = ExportOptions(orientation="RAS", voxel_size=(1, 2, 3), intensity="percentile:1,99")
    export_artifact(tiny_network(), path, options)
    stored = {p.key: p.value for p in onnx.load(path).metadata_props}
    facts = json.loads(stored[MANIFEST_KEY])
    assert facts["shape"] == list(SHAPE)
    assert facts["stride"] == STRIDE
    assert facts["orientation"] == "RAS"
    assert facts["voxel_size"] == [1, 2, 3]
    assert facts["intensity"] == "percentile:1,99"
    assert facts["diffeomorphic"] is True
    assert facts["int_steps"] == 5
    assert facts["versions"]["torch"] == torch.__version__
    assert facts["verification"]["displacement"]["max"] <= 1e-3
    assert len(stored[MANIFEST_KEY]) < 4096  # what a TensorRT plan can carry


def test_the_same_export_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        export_artifact(tiny_network(), tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_dynamic_is_verified_on_a_second_grid_and_registers_others(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    manifest = export_artifact(tiny_network(), path, ExportOptions(dynamic=True))
    assert manifest.shape is None
    data = np.random.default_rng(0).integers(0, 255, (24, 16, 32)).astype(np.float32)
    image = nib.Nifti1Image(data, LIA)
    with Registrar.load(path) as registrar:
        assert registrar.register(image, image).moved.data.shape == data.shape
        odd = nib.Nifti1Image(data[:, :, :30], LIA)
        with pytest.raises(GridMismatchError, match="not multiples of 8"):
            registrar.register(odd, odd, affine="none")


def test_fp16_is_verified_by_its_own_limits(tmp_path: Path) -> None:
    manifest = export_artifact(
        tiny_network(), tmp_path / "m.onnx", ExportOptions(precision="fp16", max_error=0.2)
    )
    assert manifest.precision == "fp16"
    assert manifest.verification["limits"] == {"max": 0.2, "p99": 0.02}
    assert 0 < manifest.verification["displacement"]["p99"] <= 0.02


def test_over_the_limit_nothing_is_written(tmp_path: Path) -> None:
    options = ExportOptions(precision="fp16", max_error=1e-9)
    with pytest.raises(VerificationError):
        export_artifact(tiny_network(), tmp_path / "model.onnx", options)
    assert list(tmp_path.iterdir()) == []


def test_verification_on_files(tmp_path: Path) -> None:
    scans = [_scan(tmp_path / f"{seed}.nii.gz", seed) for seed in (0, 1)]
    labels = nib.Nifti1Image((nib.load(scans[0]).get_fdata() // 64).astype(np.uint8), LIA)
    manifest = export_artifact(
        tiny_network(),
        tmp_path / "m.onnx",
        verify_moving=scans[0],
        verify_fixed=scans[1],
        verify_moving_labels=labels,
        verify_fixed_labels=labels,
    )
    assert manifest.verification["pair"] == "files"
    assert set(manifest.verification["source"]) == {"folding_percent", "dice"}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (ExportOptions(shape=(16, 24, 41)), ExportError, "every axis must be a multiple of 8"),
        (ExportOptions(shape=(16, 24, 4)), ExportError, "every axis must be a multiple of 8"),
        (ExportOptions(orientation="LIX"), ManifestError, "orientation is 'LIX'"),
        (ExportOptions(orientation="LRS"), ManifestError, "orientation is 'LRS'"),
        (ExportOptions(intensity="divide:0"), ManifestError, "no intensity rule"),
        (ExportOptions(voxel_size=(1, 1, 0)), ManifestError, "voxel_size"),
        (ExportOptions(precision="int4"), ManifestError, "precision is 'int4'"),
    ],
)
def test_options_that_cannot_be(
    tmp_path: Path, options: ExportOptions, error, message: str
) -> None:
    with pytest.raises(error, match=message):
        export_artifact(tiny_network(), tmp_path / "m.onnx", options)
    assert list(tmp_path.iterdir()) == []


def test_a_network_of_unknown_grid_needs_a_shape(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="give --shape"):
        export_artifact(SampledByHand().eval(), tmp_path / "m.onnx")


def test_a_pair_to_verify_on_is_whole_and_on_the_grid(tmp_path: Path) -> None:
    scan = _scan(tmp_path / "s.nii")
    with pytest.raises(ExportError, match="both a moving and a fixed"):
        export_artifact(tiny_network(), tmp_path / "m.onnx", verify_moving=scan)
    with pytest.raises(ExportError, match="need their scans"):
        export_artifact(tiny_network(), tmp_path / "m.onnx", verify_moving_labels=scan)
    other = _scan(tmp_path / "o.nii", affine=np.eye(4))
    with pytest.raises(GridMismatchError, match="orientation RAS instead of LIA"):
        export_artifact(tiny_network(), tmp_path / "m.onnx", verify_moving=scan, verify_fixed=other)
    assert not (tmp_path / "m.onnx").exists()


def test_an_existing_file_needs_force(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        export_artifact(tiny_network(), path)
    assert path.read_text() == "mine"
    export_artifact(tiny_network(), path, force=True)
    assert Artifact.read(path).manifest.int_steps == 5


def test_a_network_in_training_mode_and_half_is_not_changed(tmp_path: Path) -> None:
    module = SampledByHand().train()
    export_artifact(module, tmp_path / "m.onnx", ExportOptions(shape=SHAPE))
    assert module.training
