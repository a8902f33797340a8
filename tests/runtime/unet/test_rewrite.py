"""Identities of convolutions, against PyTorch, in whole numbers: without any rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from vmruntime.unet.rewrite import grouped_weights, upsampling_weights

SHAPE = (3, 4, 5)


def whole_numbers(*shape: int) -> torch.Tensor:
    random = np.random.default_rng(sum(shape))
    return torch.from_numpy(random.integers(-9, 10, shape).astype(np.float32))


@pytest.mark.parametrize(("channels", "out"), [(1, 1), (2, 3), (5, 4)])
def test_convolution_of_a_doubled_grid(channels: int, out: int) -> None:
    weights, coarse = whole_numbers(out, channels, 3, 3, 3), whole_numbers(1, channels, *SHAPE)
    expected = F.conv3d(F.interpolate(coarse, scale_factor=2, mode="nearest"), weights, padding=1)
    kernel = torch.from_numpy(upsampling_weights(weights.numpy()))
    found = F.conv_transpose3d(coarse, kernel, stride=2, padding=1)
    assert torch.equal(found, expected)


def test_the_two_halves_of_a_concatenation() -> None:
    weights, coarse = whole_numbers(3, 5, 3, 3, 3), whole_numbers(1, 2, *SHAPE)
    skip = whole_numbers(1, 3, *(2 * n for n in SHAPE))
    doubled = F.interpolate(coarse, scale_factor=2, mode="nearest")
    expected = F.conv3d(torch.cat([doubled, skip], 1), weights, padding=1)
    kernel = torch.from_numpy(upsampling_weights(weights[:, :2].numpy()))
    found = F.conv_transpose3d(coarse, kernel, stride=2, padding=1)
    assert torch.equal(found + F.conv3d(skip, weights[:, 2:], padding=1), expected)


def test_four_neighbours_at_once() -> None:
    weights, volume = whole_numbers(3, 2, 3, 3, 3), whole_numbers(1, 2, 3, 4, 6)
    expected = F.conv3d(volume, weights, padding=1)
    kernel = torch.from_numpy(grouped_weights(weights.numpy()))
    apart = F.conv3d(volume, kernel, stride=(1, 2, 2), padding=1).reshape(3, 2, 2, 3, 2, 3)
    found = apart.permute(0, 3, 4, 1, 5, 2).reshape(1, 3, 3, 4, 6)
    assert torch.equal(found, expected)


def test_weights_are_rounded_once() -> None:
    random = np.random.default_rng(0)
    weights = random.standard_normal((2, 2, 3, 3, 3)).astype(np.float32)
    exact = upsampling_weights(weights.astype(np.float64))
    assert exact.dtype == np.float32
    # Voxel 2 i reads coarse voxel i through taps 1 and 2 of each axis: eight of them.
    expected = weights[:, :, 1:, 1:, 1:].astype(np.float64).sum(axis=(2, 3, 4)).T
    np.testing.assert_array_equal(exact[:, :, 1, 1, 1], expected.astype(np.float32))
