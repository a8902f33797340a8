"""Which models begin with layers that our own kernel computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from vmexport.graph.build import build_model
from vmexport.graph.half_kernels import half_kernels
from vmexport.networks import PooledUNet, RegistrationNetwork, StridedUNet, Tail
from vmruntime.unet.first_layers import FirstLayers, find_first_layers
from vmruntime.unet.graph import read_graph
from vmruntime.unet.tail import find_tail

SHAPE = (8, 12, 16)


def pooled(first: int, skipped: int = 1) -> RegistrationNetwork:
    unet = PooledUNet(2, [[first], [4]], [[4], [4]], [4], skipped)
    return RegistrationNetwork(unet, Tail(1, 2, unet.output_stride)).eval()


def strided() -> RegistrationNetwork:
    return RegistrationNetwork(StridedUNet(2, [16, 4], [[4], [4]], [4]), Tail(1, 2, 1)).eval()


def find(network: RegistrationNetwork, precision: str = "fp32") -> FirstLayers | None:
    model = build_model(network, SHAPE, precision=precision)
    graph = read_graph(model.SerializeToString())
    return find_first_layers(graph, find_tail(graph).prediction)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_found(precision: str) -> None:
    network = pooled(32)
    found = find(network, precision)
    assert found is not None
    assert found.inputs == ("moving", "fixed")
    convolution = network.unet.encoder[0][0].conv
    weights, rounding = convolution.weight.detach().numpy(), 0.0
    if precision == "fp16":
        weights, rounding = half_kernels(weights).astype(np.float32), 1e-3
    np.testing.assert_array_equal(found.weights, weights)
    np.testing.assert_allclose(found.bias, convolution.bias.detach(), rtol=rounding, atol=1e-6)
    assert found.slope == pytest.approx(0.2)


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(lambda: pooled(8), id="8 channels"),
        pytest.param(lambda: pooled(16, 0), id="read by a skip connection too"),
        pytest.param(strided, id="strided"),
    ],
)
def test_not_found(network: Callable[[], RegistrationNetwork]) -> None:
    assert find(network()) is None
