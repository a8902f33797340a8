"""Taking a model apart: the graph as the onnx package reads it, and where its U-Net ends."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiny_networks import SHAPE, tiny_network
from vmexport.graph.build import build_model
from vmexport.networks import PooledUNet, RegistrationNetwork, StridedUNet, Tail
from vmruntime.errors import ArtifactError, BackendUnavailableError
from vmruntime.unet.graph import read_graph
from vmruntime.unet.tail import find_tail

STRIDED_SHAPE = (16, 32, 48)


def pooled(tail: Tail, skipped: int) -> RegistrationNetwork:
    return RegistrationNetwork(PooledUNet(2, [[4], [4]], [[4], [4]], [4], skipped), tail).eval()


def strided(tail: Tail) -> RegistrationNetwork:
    unet = StridedUNet(2, [4, 4], [[4], [4]], [4])
    return RegistrationNetwork(unet, tail).eval()


NETWORKS = {
    "half resolution": lambda: pooled(Tail(1, 5, 2), 1),
    "quarter resolution": lambda: pooled(Tail(1, 3, 4), 2),
    "full resolution": lambda: pooled(Tail(1, 4, 1), 0),
    "integrated at half": lambda: strided(Tail(Fraction(1, 2), 7, 2)),
    "half to quarter and back": lambda: pooled(Tail(Fraction(1, 2), 2, 4), 1),
    "integrated finer than predicted": lambda: pooled(Tail(2, 3, 2), 2),
    "no integration": lambda: strided(Tail(1, 0, 1)),
    "no integration, half resolution": lambda: pooled(Tail(1, 0, 2), 1),
}


def test_graph_as_onnx_reads_it(tiny_artifact: Path) -> None:
    onnx: Any = pytest.importorskip("onnx", reason="the export extra is not installed")
    content = tiny_artifact.read_bytes()
    graph, expected = read_graph(content), onnx.load_from_string(content).graph
    assert len(graph.nodes) == len(expected.node)
    for found, node in zip(graph.nodes, expected.node, strict=True):
        assert found.operator == "::".join(filter(None, (node.domain, node.op_type)))
        assert (found.inputs, found.outputs) == (tuple(node.input), tuple(node.output))
        values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        for name, value in values.items():
            plain = value.decode() if isinstance(value, bytes) else value
            assert found.attributes[name] == (tuple(plain) if isinstance(plain, list) else plain)
    assert list(graph.weights) == [weight.name for weight in expected.initializer]
    for weight in expected.initializer:
        values = onnx.numpy_helper.to_array(weight)
        assert graph.weights[weight.name].dtype == values.dtype
        np.testing.assert_array_equal(graph.weights[weight.name], values)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        *((name, "fixed grid") for name in NETWORKS),
        ("half resolution", "any grid"),
        ("integrated at half", "any grid"),
        ("half to quarter and back", "fp16"),
        ("no integration, half resolution", "fp16"),
    ],
)
def test_tail_is_the_one_that_was_exported(name: str, how: str) -> None:
    network = NETWORKS[name]()
    model = build_model(
        network,
        STRIDED_SHAPE,
        dynamic=how == "any grid",
        stride=network.stride,
        precision="fp16" if how == "fp16" else "fp32",
    )
    graph = read_graph(model.SerializeToString())
    tail = find_tail(graph)
    expected = network.tail
    assert tail.int_steps == expected.int_steps
    if tail.int_steps:
        assert tail.before == expected.resize_before.factor
        assert tail.after == expected.resize_after.factor
    else:
        assert tail.before * tail.after == network.unet.output_stride
    assert graph.producers[tail.prediction].operator == "Conv"
    operators = {node.operator for node in graph.needed_for(tail.prediction)}
    assert "vxm::Warp3d" not in operators


@pytest.mark.parametrize(
    ("operator", "change"),
    [
        ("Div", "one squaring less"),
        ("vxm::Warp3d", "another mode"),
        ("Resize", "another mode"),
        ("Neg", "no minus"),
    ],
)
def test_a_tail_that_is_a_little_different(operator: str, change: str) -> None:
    onnx: Any = pytest.importorskip("onnx", reason="the export extra is not installed")
    model = build_model(tiny_network(), SHAPE)
    for node in model.graph.node:
        if "::".join(filter(None, (node.domain, node.op_type))) != operator:
            continue
        if change == "another mode":
            attribute = next(a for a in node.attribute if a.name == "mode")
            if attribute.s == b"linear":
                attribute.s = b"nearest"
        elif change == "no minus":
            node.op_type = "Abs"
        else:
            constant = next(w for w in model.graph.initializer if w.name == node.input[1])
            halved = onnx.numpy_helper.to_array(constant) / 2
            constant.CopyFrom(onnx.numpy_helper.from_array(halved, constant.name))
    with pytest.raises(BackendUnavailableError, match="does not end as VoxelMorph's do"):
        find_tail(read_graph(model.SerializeToString()))


def test_weights_in_another_file() -> None:
    onnx: Any = pytest.importorskip("onnx", reason="the export extra is not installed")
    model = build_model(tiny_network(), SHAPE)
    onnx.external_data_helper.convert_model_to_external_data(model, size_threshold=0)
    for weight in model.graph.initializer:
        weight.ClearField("raw_data")
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_graph(model.SerializeToString())
