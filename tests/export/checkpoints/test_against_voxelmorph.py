"""Against the genuine VxmDense of voxelmorph 0.2, where that is installed.

The test extra brings it, with neurite 0.2 and pystrum.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from original_voxelmorph import import_networks
from vmexport.checkpoints import CheckpointError, read_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning")

SHAPE = (32, 16, 48)
# both evaluate the same float32 formulas; what differs is the order of roundings in coordinates
TOLERANCE = 1e-5  # voxels

SMALL = [[4, 6, 6], [6, 6, 5, 4]]
CONFIGS: list[dict[str, Any]] = [
    {},
    {"nb_unet_features": SMALL},
    {"nb_unet_features": SMALL, "unet_half_res": True},
    {"nb_unet_features": SMALL, "int_steps": 0},
    {"nb_unet_features": SMALL, "int_steps": 0, "int_downsize": 1},
    {"nb_unet_features": SMALL, "int_steps": 0, "int_downsize": 4},
    {"nb_unet_features": SMALL, "int_steps": 1},
    {"nb_unet_features": SMALL, "int_downsize": 1},
    {"nb_unet_features": SMALL, "int_downsize": 4, "int_steps": 5},
    {"nb_unet_features": SMALL, "int_downsize": 8},
    {"nb_unet_features": SMALL, "int_downsize": 3, "inshape": (24, 24, 48)},
    {"nb_unet_features": SMALL, "bidir": True},
    {"nb_unet_features": SMALL, "bidir": True, "unet_half_res": True},
    {"nb_unet_features": SMALL, "src_feats": 2, "trg_feats": 3},
    {"nb_unet_features": [[4, 6, 6], [6, 6, 5]]},
    {"nb_unet_features": [[4, 6, 6], [6, 6, 5]], "unet_half_res": True},
    {"nb_unet_features": [[4], [5, 6]], "unet_half_res": True},
    {"nb_unet_features": [[], [4]]},
    {"nb_unet_features": 5, "nb_unet_levels": 4},
    {"nb_unet_features": 5, "nb_unet_levels": 3, "unet_feat_mult": 1.5},
    {"nb_unet_features": 4, "nb_unet_levels": 3, "unet_feat_mult": 2, "unet_half_res": True},
    {"nb_unet_features": 4, "nb_unet_levels": 3, "nb_unet_conv_per_level": 2},
    {"nb_unet_features": 4, "nb_unet_levels": 1},
    {"nb_unet_features": [[4, 5, 6, 6], [6, 6, 5, 5, 4]], "nb_unet_conv_per_level": 2},
    {"nb_unet_features": [[4, 5, 6], [6, 5, 5, 4]], "nb_unet_conv_per_level": 2},
]


@pytest.fixture(scope="module")
def networks() -> ModuleType:
    """The module of VoxelMorph with the genuine VxmDense."""
    return import_networks()


def trained(networks: ModuleType, options: dict[str, Any]) -> torch.nn.Module:
    """A VxmDense whose velocity is some voxels long."""
    torch.manual_seed(0)
    model: torch.nn.Module = networks.VxmDense(**{"inshape": SHAPE, **options})
    model.flow.weight = torch.nn.Parameter(0.5 * torch.randn_like(model.flow.weight))
    model.flow.bias = torch.nn.Parameter(torch.randn(3))
    return model.eval()


@pytest.mark.parametrize("options", CONFIGS, ids=str)
def test_displacement(networks: ModuleType, tmp_path: Path, options: dict[str, Any]) -> None:
    model = trained(networks, options)
    model.save(tmp_path / "m.pt")
    network = read_checkpoint(tmp_path / "m.pt").network

    shape = options.get("inshape", SHAPE)
    moving = torch.rand(1, options.get("src_feats", 1), *shape)
    fixed = torch.rand(1, options.get("trg_feats", 1), *shape)
    with torch.inference_mode():
        _, expected = model(moving, fixed, registration=True)
        displacement = network(moving, fixed)
        assert expected.abs().max() > 0.5
        assert (displacement - expected).abs().max() < TOLERANCE
        if options.get("bidir"):
            back = model.integrate(-model(moving, fixed)[-1])
            inverse = network.tail(-network.velocity(moving, fixed))
            assert (inverse - model.fullsize(back)).abs().max() < TOLERANCE


@pytest.mark.parametrize(
    "options",
    [
        {"unet_half_res": True, "int_steps": 0},
        {"unet_half_res": True, "int_downsize": 1},
        {"unet_half_res": True, "int_downsize": 4},
        {"nb_unet_features": [[], [4]], "unet_half_res": True},
        {"int_downsize": 3},
        {"inshape": (32, 16, 40)},
    ],
    ids=str,
)
def test_what_it_cannot_run_is_refused(
    networks: ModuleType, tmp_path: Path, options: dict[str, Any]
) -> None:
    options = {"nb_unet_features": [[4, 6, 6, 6], [6, 6, 6, 6]], **options}
    model = trained(networks, options)
    shape = options.get("inshape", SHAPE)
    with pytest.raises(RuntimeError, match=r"[Ss]ize"):
        model(torch.rand(1, 1, *shape), torch.rand(1, 1, *shape))
    model.save(tmp_path / "m.pt")
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / "m.pt")
