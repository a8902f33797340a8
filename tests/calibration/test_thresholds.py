"""Where INT8 cuts off, and which tensors share that."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from vmcalibration.ranges import Ranges, TensorRange
from vmcalibration.sharing import shared_thresholds
from vmcalibration.thresholds import threshold
from vmexport.precision import find_layers
from vmexport.verification import phantom_pair


@pytest.fixture
def with_outlier() -> TensorRange:
    data = np.random.default_rng(0).normal(0, 1, (1, 2, 40, 40, 40)).astype(np.float32)
    data[0, 0, 0, 0, 0] = 100
    return TensorRange.of("Conv", data)


def test_minmax_keeps_everything(with_outlier: TensorRange) -> None:
    assert threshold(with_outlier, "minmax") == 100


def test_percentile_keeps_all_but_one_of_ten_thousand(with_outlier: TensorRange) -> None:
    expected = 3.89  # of a normal distribution, on both sides
    assert threshold(with_outlier, "percentile") == pytest.approx(expected, rel=0.1)


def test_entropy_gives_up_a_single_outlier(with_outlier: TensorRange) -> None:
    assert 1 < threshold(with_outlier, "entropy") < 20


def test_entropy_keeps_an_even_distribution() -> None:
    data = np.random.default_rng(0).uniform(-2, 2, (1, 1, 40, 40, 40)).astype(np.float32)
    assert threshold(TensorRange.of("Conv", data), "entropy") > 1.8


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_a_tensor_of_zeros_has_a_usable_threshold(method: str) -> None:
    held = TensorRange.of("Conv", np.zeros((1, 1, 4, 4, 4), np.float32))
    assert threshold(held, method) == 1.0  # type: ignore[arg-type]


def test_copies_of_one_tensor_share_a_threshold(model: onnx.ModelProto) -> None:
    layers = find_layers(model)
    ranges = Ranges()
    ranges.collect(model, phantom_pair((16, 32, 48)), 1)
    found = shared_thresholds(model, layers, ranges, "minmax")
    assert list(found) == [layer.name for layer in layers]
    for layer in layers:
        assert found[layer.name] >= ranges.tensors[layer.source].largest * (1 - 1e-6)
    # The skip connection and what is concatenated to it are one tensor in 8 bits.
    made = {node.output[0]: node for node in model.graph.node}
    for layer in layers:
        node = made.get(layer.source)
        if node is not None and node.op_type == "Concat" and layer.source in ranges.tensors:
            readers = [
                other.name
                for other in layers
                if other is not layer
                and made[other.source].op_type == "MaxPool"
                and made[other.source].input[0] in node.input
            ]
            for name in readers:
                assert found[name] == found[layer.name]
