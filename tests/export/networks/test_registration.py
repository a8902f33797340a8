"""The whole network: sizes, channels, number formats."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

import vmexport.networks
from vmexport.networks import PooledUNet, RegistrationNetwork, StridedUNet, Tail

SHAPE = (16, 8, 24)


def pooled(skipped: int = 0) -> PooledUNet:
    return PooledUNet(2, [[4], [6]], [[6], [5]], [4, 3], skipped)


def strided() -> StridedUNet:
    return StridedUNet(2, [4, 6], [[6], [5, 4]], [3], padding="end")


def scans(channels: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.rand(1, 1, *SHAPE), torch.rand(1, channels, *SHAPE)


def test_public_names() -> None:
    assert vmexport.networks.__all__ == sorted(vmexport.networks.__all__)
    for name in vmexport.networks.__all__:
        assert hasattr(vmexport.networks, name)


@pytest.mark.parametrize(
    ("unet", "tail", "stride", "velocity_at"),
    [
        (pooled(), Tail(), 4, 1),
        (pooled(), Tail(int_steps=2), 4, 1),
        (pooled(), Tail(Fraction(1, 2), 2, 2), 4, 1),
        (pooled(), Tail(Fraction(1, 8), 2, 8), 8, 1),
        (pooled(1), Tail(1, 2, 2), 4, 2),
        (pooled(2), Tail(2, 2, 2), 4, 4),
        (strided(), Tail(Fraction(1, 2), 2, 2), 4, 1),
    ],
)
def test_displacement_has_the_scans_size(
    unet: PooledUNet | StridedUNet, tail: Tail, stride: int, velocity_at: int
) -> None:
    network = RegistrationNetwork(unet, tail)
    assert network.stride == stride
    moving, fixed = scans()
    velocity = network.velocity(moving, fixed)
    assert velocity.shape == (1, 3, *(size // velocity_at for size in SHAPE))
    displacement = network(moving, fixed)
    assert displacement.shape == (1, 3, *SHAPE)
    assert displacement.dtype == torch.float32


def test_an_integration_grid_that_the_unet_does_not_divide_counts_for_the_stride() -> None:
    assert RegistrationNetwork(pooled(), Tail(Fraction(1, 3), 2, 3)).stride == 12


def test_a_tail_that_misses_full_resolution_is_refused() -> None:
    with pytest.raises(ValueError, match="1/2 of the grid"):
        RegistrationNetwork(pooled(1), Tail())


@pytest.mark.parametrize("int_steps", [0, 5])
def test_diffeomorphic_follows_the_steps(int_steps: int) -> None:
    network = RegistrationNetwork(pooled(), Tail(int_steps=int_steps))
    assert network.int_steps == int_steps
    assert network.diffeomorphic is (int_steps > 0)


def test_channels_of_both_scans() -> None:
    unet = PooledUNet(3, [[4]], [[4]], [])
    network = RegistrationNetwork(unet, Tail(), moving_channels=1, fixed_channels=2)
    assert network(*scans(channels=2)).shape == (1, 3, *SHAPE)


def test_a_unet_without_convolutions_leaves_the_head_alone() -> None:
    network = RegistrationNetwork(PooledUNet(2, [], [], []), Tail())
    moving, fixed = scans()
    expected = network.flow(torch.cat([moving, fixed], 1))
    assert torch.equal(network(moving, fixed), expected)
    assert network.stride == 1


def test_a_half_unet_predicts_in_half_and_the_tail_stays_float32() -> None:
    torch.manual_seed(1)
    network = RegistrationNetwork(pooled(1), Tail(1, 5, 2)).eval()
    moving, fixed = scans()
    with torch.inference_mode():
        full = network(moving, fixed)
        network.unet.half()
        network.flow.half()
        assert network.velocity(moving, fixed).dtype == torch.float16
        halved = network(moving, fixed)
        assert halved.dtype == torch.float32
        # half keeps 11 bits
        assert (halved - full).abs().max() < 0.01 * full.abs().max()
        network.flow.float()
        assert network.velocity(moving, fixed).dtype == torch.float32


def test_padding_at_the_end_is_tensorflows_same() -> None:
    unet = StridedUNet(1, [1], [[1]], [1], padding="end")
    convolution = unet.encoder[0].conv
    with torch.no_grad():
        convolution.weight.zero_()
        convolution.weight[0, 0, 0, 0, 0] = 1  # takes the first voxel of each window
        convolution.bias.zero_()
    volume = torch.rand(1, 1, 4, 6, 8)
    # of an even size, stride 2 and kernel 3, windows begin at 0, 2, 4, ...
    assert torch.equal(unet.encoder[0](volume), volume[..., ::2, ::2, ::2])


@pytest.mark.parametrize("unet", [pooled(), strided()])
def test_other_grids_export_from_one_program(unet: PooledUNet | StridedUNet) -> None:
    network = RegistrationNetwork(unet, Tail(Fraction(1, 2), 3, 2)).eval()
    axes = {2 + axis: 4 * torch.export.Dim(f"quarter{axis}", min=2, max=99) for axis in range(3)}
    program = torch.export.export(network, scans(), dynamic_shapes={"moving": axes, "fixed": axes})
    others = torch.rand(1, 1, 8, 12, 16), torch.rand(1, 1, 8, 12, 16)
    torch.testing.assert_close(program.module()(*others), network(*others))


def test_unequal_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="encoder levels"):
        PooledUNet(2, [[4]], [], [])
    with pytest.raises(ValueError, match="encoder levels"):
        StridedUNet(2, [4], [], [3])
    with pytest.raises(ValueError, match="up-samplings"):
        PooledUNet(2, [[4]], [[4]], [], skipped_upsamplings=2)
    with pytest.raises(ValueError, match="full resolution"):
        StridedUNet(2, [4], [[4]], [])
