"""Ranges against onnxruntime's own outputs, over one pair and over two."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

from vmcalibration.errors import CalibrationError
from vmcalibration.ranges import Ranges, TensorRange, range_of_weights
from vmcalibration.walk import walk
from vmexport.precision import find_layers
from vmexport.verification import Pair, phantom_pair

SHAPE = (16, 32, 48)


@pytest.fixture
def scans() -> Pair:
    return phantom_pair(SHAPE)


def all_tensors(model: onnx.ModelProto, scans: Pair) -> dict[str, np.ndarray]:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    names = [layer.result for layer in find_layers(model)]
    names += [layer.source for layer in find_layers(model)]
    for name in dict.fromkeys(names):
        copy.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = ort.InferenceSession(copy.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {"moving": scans.moving[None], "fixed": scans.fixed[None]}
    found = session.run(names, feeds)
    return dict(zip(names, found, strict=True))


def test_every_tensor_as_onnxruntime_gives_it(model: onnx.ModelProto, scans: Pair) -> None:
    expected = all_tensors(model, scans)
    ranges = Ranges()
    ranges.collect(model, scans, 2)
    assert expected.keys() <= ranges.tensors.keys()
    for name, data in expected.items():
        held = ranges.tensors[name]
        low, high = data[0].min((1, 2, 3)), data[0].max((1, 2, 3))
        np.testing.assert_allclose(held.low, low, atol=1e-5)
        np.testing.assert_allclose(held.high, high, atol=1e-5)
        assert held.histogram.total == data.size
        report = held.report()
        np.testing.assert_allclose(report["p99"], np.quantile(data, 0.99), rtol=0.02, atol=1e-3)
        assert len(report["channels"]) == data.shape[1]


def test_tensors_are_let_go(model: onnx.ModelProto, scans: Pair) -> None:
    """An observer sees every operator up to the head and none of the tail."""
    seen: list[str] = []
    feeds = {"moving": scans.moving[None], "fixed": scans.fixed[None]}
    walk(model, feeds, lambda node, _: seen.append(node.op_type))
    assert seen.count("Conv") == len(find_layers(model))
    assert "Warp3d" not in seen


def test_two_pairs_and_back_from_arrays(model: onnx.ModelProto, scans: Pair) -> None:
    brighter = replace(scans, moving=2 * scans.moving)
    both, first, second = Ranges(), Ranges(), Ranges()
    for pair in (scans, brighter):
        both.collect(model, pair, 1)
    first.collect(model, scans, 1)
    second.collect(model, brighter, 1)
    again = Ranges.from_arrays(both.to_arrays())
    assert again.tensors.keys() == first.tensors.keys()
    for name, held in again.tensors.items():
        assert held.operator == first.tensors[name].operator
        one, other = first.tensors[name], second.tensors[name]
        np.testing.assert_array_equal(held.low, np.minimum(one.low, other.low))
        np.testing.assert_array_equal(held.counts, one.counts + other.counts)


def test_values_that_are_none_are_refused(model: onnx.ModelProto, scans: Pair) -> None:
    broken = replace(scans, moving=np.full_like(scans.moving, np.nan))
    ranges = Ranges()
    with pytest.raises(CalibrationError, match="not finite in float32"):
        ranges.collect(model, broken, 1)
    assert not ranges.tensors


def test_one_value_that_overflows_is_never_a_share_of_zero() -> None:
    data = np.zeros((1, 2, 4, 4, 4), np.float32)
    data[0, 1, 0, 0, 0] = -65530
    held = TensorRange.of("Conv", data)
    assert held.overflows
    assert held.report()["fp16_overflow_share"] > 0
    channels = held.report()["channels"]
    assert [channel["fp16_overflow_share"] > 0 for channel in channels] == [False, True]


def test_weights(model: onnx.ModelProto) -> None:
    layer = find_layers(model)[1]
    held = range_of_weights(model, layer)
    values = onnx.numpy_helper.to_array(
        next(t for t in model.graph.initializer if t.name == layer.weights)
    )
    np.testing.assert_array_equal(held.high, values.reshape(len(values), -1).max(1))
