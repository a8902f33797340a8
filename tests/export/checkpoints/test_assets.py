"""Third-party models on real scans, against the figures of an independent run."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from vmexport.checkpoints import read_checkpoint
from vmexport.networks import RegistrationNetwork, warp

GRID = (160, 192, 224)


@pytest.mark.parametrize(
    ("file", "layout", "parameters", "int_steps"),
    [
        ("vxm_dense_brain_T1_3D_mse.h5", "keras-vxm-dense", 313_507, 7),
        ("vxm_dense_brain_T1_3D_mse.pt", "vxm-dense", 313_507, 7),
        ("cvpr2018_vm2_l2.h5", "keras-cvpr2018", 300_547, 0),
        ("try_voxelmorph_0100.pt", "vxm-dense-legacy", 301_411, 7),
    ],
)
def test_layout(assets: Path, file: str, layout: str, parameters: int, int_steps: int) -> None:
    checkpoint = read_checkpoint(assets / "models" / file)
    network = checkpoint.network
    assert checkpoint.layout == layout
    assert network.inshape == GRID
    assert network.stride == 16
    assert network.int_steps == int_steps
    assert (network.moving_channels, network.fixed_channels) == (1, 1)
    assert sum(weight.numel() for weight in network.parameters()) == parameters


def test_the_official_model_is_the_same_from_both_files(assets: Path) -> None:
    models = assets / "models"
    keras = read_checkpoint(models / "vxm_dense_brain_T1_3D_mse.h5").network.state_dict()
    torch_ = read_checkpoint(models / "vxm_dense_brain_T1_3D_mse.pt").network.state_dict()
    assert keras.keys() == torch_.keys()
    for name, weight in keras.items():
        assert torch.equal(weight, torch_[name])


@pytest.mark.parametrize(
    ("file", "mse", "ncc", "folding"),
    [
        ("vxm_dense_brain_T1_3D_mse.h5", 0.00061, 0.982, 0.0),
        ("cvpr2018_vm2_l2.h5", 0.00052, 0.985, 0.572),
        ("try_voxelmorph_0100.pt", 0.00280, 0.916, 0.0),
    ],
)
def test_figures_of_oasis_a_to_oasis_b(
    assets: Path, file: str, mse: float, ncc: float, folding: float
) -> None:
    moving, fixed = scan(assets, "oasis_a_aligned"), scan(assets, "oasis_b_aligned")
    network: RegistrationNetwork = read_checkpoint(assets / "models" / file).network
    with torch.inference_mode():
        displacement = network(moving, fixed)
        moved = warp(moving, displacement)
    # the figures are rounded to their last digit
    assert float(((moved - fixed) ** 2).mean()) == pytest.approx(mse, abs=5.1e-6)
    assert correlation(moved, fixed) == pytest.approx(ncc, abs=5.1e-4)
    assert folded_percent(displacement) == pytest.approx(folding, abs=5.1e-4)


def scan(assets: Path, name: str) -> torch.Tensor:
    """FreeSurfer norm intensities over 255, ``(1, 1, D, H, W)``."""
    image = nib.load(assets / "scans" / f"{name}.nii.gz")
    return torch.from_numpy(image.get_fdata(dtype=np.float32))[None, None]


def correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    """Correlate all voxels, in double: float32 sums of 7 million are off in the third digit."""
    return float(np.corrcoef(one.double().flatten(), other.double().flatten())[0, 1])


def folded_percent(displacement: torch.Tensor) -> float:
    """Percentage of voxels whose Jacobian determinant is not positive."""
    rows = [
        torch.stack(torch.gradient(component, dim=(0, 1, 2)), dim=-1)
        for component in displacement[0]
    ]
    jacobian = torch.stack(rows, dim=-2) + torch.eye(3)
    a, b, c = jacobian.unbind(-2)
    determinant = (a * torch.linalg.cross(b, c)).sum(-1)
    return float((determinant <= 0).float().mean() * 100)
