"""Convolution, LeakyReLU and pooling in one pass, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from vmruntime.native import NativeKernels, NativeLibraryError

ROUNDING = 1e-5
"""Sums of some hundred products of normal numbers, in float32."""


@pytest.fixture(scope="module")
def native() -> NativeKernels:
    try:
        kernels = NativeKernels()
    except NativeLibraryError as error:
        pytest.skip(str(error))
    if kernels.instructions != "avx512":
        pytest.skip(f"needs AVX-512, this machine has {kernels.instructions}")
    return kernels


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(2, 2, 2), (6, 8, 10), (4, 2, 24), (2, 6, 26), (8, 4, 50)])
@pytest.mark.parametrize(("channels", "out"), [(1, 16), (2, 16), (3, 48)])
@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
def test_against_pytorch(
    native: NativeKernels, shape: tuple[int, int, int], channels: int, out: int, slope: float
) -> None:
    volumes, weights, bias = (
        numbers(channels, *shape),
        numbers(out, channels, 3, 3, 3),
        numbers(out),
    )
    convolved = F.conv3d(*map(torch.from_numpy, (volumes[None], weights, bias)), padding=1)
    expected = F.max_pool3d(F.leaky_relu(convolved, slope), 2)[0].permute(1, 2, 3, 0).numpy()
    for threads in (1, 3):
        found = native.pooled_convolution(list(volumes), weights, bias, slope, threads=threads)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING * np.sqrt(channels))


def test_zeros_lie_outside(native: NativeKernels) -> None:
    ones = np.ones((4, 4, 4), np.float32)
    weights = np.ones((16, 1, 3, 3, 3), np.float32)
    found = native.pooled_convolution([ones], -weights, np.zeros(16, np.float32), 0.5)
    # The largest of minus 8, 12, 18 and 27 neighbours: every corner block holds a corner.
    np.testing.assert_array_equal(found, np.full((2, 2, 2, 16), -4, np.float32))


@pytest.mark.parametrize(
    ("shape", "out", "slope", "message"),
    [
        ((4, 4, 5), 16, 0.2, "odd size"),
        ((1, 4, 4), 16, 0.2, "shape"),
        ((4, 4, 4), 8, 0.2, "multiple of 16"),
        ((4, 4, 4), 16, -0.1, "slope"),
        ((4, 4, 4), 16, float("nan"), "slope"),
    ],
)
def test_refusals(
    native: NativeKernels, shape: tuple[int, int, int], out: int, slope: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        native.pooled_convolution([numbers(*shape)], numbers(out, 1, 3, 3, 3), numbers(out), slope)
