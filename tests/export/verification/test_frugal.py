"""Running large grids in little memory changes nothing but the order of sums."""

from __future__ import annotations

import pytest
import torch

from tiny_networks import SHAPE, SampledByHand, tiny_network
from vmexport.networks import RegistrationNetwork, StridedUNet, Tail
from vmexport.verification import frugal as module
from vmexport.verification.frugal import frugal

# Some hundred float32 products in another order, in displacements of a few voxels.
FLOAT32 = 1e-4


def _strided() -> RegistrationNetwork:
    torch.manual_seed(2)
    unet = StridedUNet(2, [4, 6], [[6], [5]], [5, 4], padding="end")
    return RegistrationNetwork(unet, Tail(1, 3), inshape=SHAPE).eval()


@pytest.mark.parametrize("network", [tiny_network(), _strided()], ids=["pooled", "strided"])
@pytest.mark.parametrize("slab", [1, 24 * 40 * 5, 1 << 20])
def test_it_computes_the_same_and_leaves_the_source(
    network: RegistrationNetwork, slab: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGE_GRID", 1)
    monkeypatch.setattr(module, "SLAB_VOXELS", slab)
    scans = [torch.rand(1, 1, *SHAPE) for _ in range(2)]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    kept = [scan.clone() for scan in scans]
    with torch.inference_mode():
        expected = network(*scans)
        found = frugal(network, SHAPE)(*scans)
    assert expected.abs().max() > 0.1
    assert (found - expected).abs().max() < FLOAT32
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(torch.equal(a, b) for a, b in zip(scans, kept, strict=True))


def test_small_grids_and_modules_of_ones_own_are_left_alone() -> None:
    network, own = tiny_network(), SampledByHand()
    assert frugal(network, SHAPE) is network
    assert frugal(own, (160, 192, 224)) is own
    assert frugal(network, (160, 192, 224)) is not network
