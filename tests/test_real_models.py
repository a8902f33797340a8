"""The official models on real scans: the figures that assets/README.md states.

The slowest tests of the suite; they run the whole product from the checkpoint to the report.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import SimpleITK as sitk
import torch
from click.testing import CliRunner

from original_voxelmorph import import_networks
from vmexport.artifact import ExportOptions, export_artifact
from vmruntime import Registrar, Volume
from vmruntime.cli.infer import main
from vmruntime.io.images import read_labels, read_scan

CHECKPOINTS = {
    "vxm_dense_brain_T1_3D_mse.h5": "keras-vxm-dense",
    "vxm_dense_brain_T1_3D_mse.pt": "vxm-dense",
    "cvpr2018_vm2_l2.h5": "keras-cvpr2018",
    "try_voxelmorph_0100.pt": "vxm-dense-legacy",
}
OFFICIAL = "vxm_dense_brain_T1_3D_mse.h5"
SHAPE = (160, 192, 224)

MAX_BYTES = 2_000_000
MAX_ERROR = 1e-3
"""Voxels between onnxruntime and PyTorch, for any model."""


@pytest.fixture(scope="module")
def artifact(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Export a checkpoint of the assets, once."""
    folder = tmp_path_factory.mktemp("artifacts")

    def export(name: str) -> Path:
        path = folder / f"{name}.onnx"
        if not path.exists():
            export_artifact(assets / "models" / name, path, ExportOptions(shape=SHAPE))
        return path

    return export


@pytest.fixture(scope="module")
def brain_labels(assets: Path) -> list[int]:
    """The 30 labels that VoxelMorph reports Dice on."""
    with np.load(assets / "scans" / "voxelmorph_labels.npz") as stored:
        return [int(label) for label in stored[stored.files[0]]]


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_every_checkpoint_exports_within_the_limits(artifact, name: str) -> None:
    path = artifact(name)
    assert path.stat().st_size < MAX_BYTES
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    with Registrar.load(path) as registrar:
        manifest = registrar.manifest
    assert manifest.source["layout"] == CHECKPOINTS[name]
    assert manifest.verification["displacement"]["max"] <= MAX_ERROR
    assert manifest.diffeomorphic == ("cvpr" not in name)
    # Nothing registered, nothing of ours imported: any ONNX runtime takes the file.
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["moving", "fixed"]


def test_oasis_pair_with_the_official_model(artifact, assets: Path) -> None:
    quality = _register(artifact(OFFICIAL), assets, "oasis_a", "oasis_b", intensity="none")
    assert quality.similarity_before.mse == pytest.approx(0.00372, abs=1e-5)
    assert quality.similarity_after.mse <= 0.00062
    assert quality.similarity_after.ncc >= 0.981
    assert quality.regularity.folding_voxels == 0


# torch's own advice to voxelmorph 0.2, which is not going to follow it any more.
@pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning")
def test_the_original_voxelmorph_gives_the_same_displacement(artifact, assets: Path) -> None:
    networks = import_networks()
    name = "vxm_dense_brain_T1_3D_mse.pt"
    original = networks.VxmDense.load(str(assets / "models" / name), "cpu").eval()
    scans = [read_scan(assets / "scans" / f"oasis_{who}_aligned.nii.gz") for who in "ab"]
    with torch.inference_mode():
        tensors = [torch.from_numpy(scan.data)[None, None] for scan in scans]
        expected = original(*tensors, registration=True)[1][0].numpy()
    with Registrar.load(artifact(name), precision="fp32") as registrar:
        result = registrar.register(*scans, intensity="none")
    assert np.abs(result.transform.displacement.data - expected).max() < MAX_ERROR


def test_oasis_pair_with_the_cvpr_model(artifact, assets: Path) -> None:
    path = artifact("cvpr2018_vm2_l2.h5")
    quality = _register(path, assets, "oasis_a", "oasis_b", intensity="none")
    assert quality.similarity_after.mse <= 0.00053
    assert quality.regularity.folding_percent == pytest.approx(0.57, abs=0.05)


def test_oasis_pair_with_the_older_torch_model(artifact, assets: Path) -> None:
    path = artifact("try_voxelmorph_0100.pt")
    quality = _register(path, assets, "oasis_a", "oasis_b", intensity="none")
    assert quality.similarity_after.mse == pytest.approx(0.00280, abs=2e-5)
    assert quality.similarity_after.ncc == pytest.approx(0.916, abs=1e-3)
    assert quality.regularity.folding_voxels == 0


def test_scans_of_different_scaling(artifact, assets: Path) -> None:
    quality = _register(artifact(OFFICIAL), assets, "test_scan", "oasis_b", fixed_intensity="none")
    assert quality.similarity_before.mse == pytest.approx(0.00312, abs=1e-5)
    assert quality.similarity_after.mse <= 0.00065
    assert quality.similarity_after.ncc >= 0.981


def test_vm_infer_carries_labels_and_writes_what_itk_reads(
    artifact, assets: Path, brain_labels: list[int], tmp_path: Path
) -> None:
    scans = assets / "scans"
    moving, fixed = scans / "subject_n_aligned.nii.gz", scans / "test_scan_aligned.nii.gz"
    arguments = {
        "--moving": moving,
        "--fixed": fixed,
        "--moving-seg": scans / "subject_n_aligned_aseg.nii.gz",
        "--fixed-seg": scans / "test_scan_aligned_aseg.nii.gz",
        "--moved": tmp_path / "moved.nii.gz",
        "--moved-seg": tmp_path / "labels.nii.gz",
        "--warp": tmp_path / "warp.nii",
        "--report": tmp_path / "qc.json",
        "--figure": tmp_path / "qc.png",
        "--dice-labels": ",".join(map(str, brain_labels)),
    }
    command = [str(artifact(OFFICIAL)), *(str(part) for pair in arguments.items() for part in pair)]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output

    report = json.loads((tmp_path / "qc.json").read_text())
    assert report["dice"]["before"]["mean"] == pytest.approx(0.584, abs=1e-3)
    assert report["dice"]["after"]["mean"] >= 0.755
    assert len(report["dice"]["after"]["labels"]) == 30
    assert report["regularity"]["folding_voxels"] == 0

    labels = read_labels(tmp_path / "labels.nii.gz")
    assert labels.data.dtype == np.uint8
    assert set(np.unique(labels.data)) <= set(
        np.unique(read_labels(arguments["--moving-seg"]).data)
    )

    # ITK clamps half a voxel at the border where we blend zeros in: compare the interior.
    field = sitk.Cast(sitk.ReadImage(str(tmp_path / "warp.nii")), sitk.sitkVectorFloat64)
    transform = sitk.DisplacementFieldTransform(field)
    source = sitk.Cast(sitk.ReadImage(str(moving)), sitk.sitkFloat32)
    target = sitk.ReadImage(str(fixed))
    resampled = sitk.Resample(source, target, transform, sitk.sitkLinear, 0.0)
    expected = sitk.GetArrayFromImage(resampled).T
    moved = read_scan(tmp_path / "moved.nii.gz").data
    interior = (slice(8, -8),) * 3
    difference = np.abs(moved - expected)[interior].max()
    assert difference < 1e-3 * (moved.max() - moved.min())


def _register(path: Path, assets: Path, moving: str, fixed: str, **intensities: str):
    scans: list[Volume] = [
        read_scan(assets / "scans" / f"{name}_aligned.nii.gz") for name in (moving, fixed)
    ]
    with Registrar.load(path) as registrar:
        return registrar.register(*scans, **intensities).quality(local=False)
