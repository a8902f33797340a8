"""What an engine in a lower precision would give, computed in float32.

onnxruntime's processor provider has no float16 convolutions: it runs a float16 graph in float32 and
drops the rounding between its own casts. So it shows neither the error of float16 nor that a value
overflows. A model made here has every tensor that is float16 in the original rounded to it and
brought back, by casts of its own, which onnxruntime keeps. Sums are float32, as on tensor cores.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vmexport.engine.half_precision import element_types
from vmruntime.artifact import Artifact

__all__ = ["as_rounded", "faithful"]

LOW = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
MOVES = {
    *("Concat", "Constant", "Expand", "Gather", "Identity", "MaxPool", "Pad", "Reshape", "Slice"),
    *("Split", "Squeeze", "Transpose", "Unsqueeze"),
}
"""Operators that hand on values: what was rounded stays so. (Resize is one only if nearest.)"""


def faithful(artifact: Artifact) -> Artifact:
    """An ONNX artifact for onnxruntime to run as an engine in its precision would.

    The same artifact where nothing of it is in float16; the bytes are the rounding model's else.
    """
    if artifact.kind != "onnx":
        return artifact
    model = onnx.load_from_string(artifact.model)
    if not any(kind in LOW for kind in element_types(model).values()):
        return artifact
    return replace(artifact, model=as_rounded(model).SerializeToString())


def as_rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace float16 (or bfloat16) arithmetic by float32 that is rounded after each operator.

    Parameters
    ----------
    model
        With parts in float16 or bfloat16. It is not changed.

    Returns
    -------
    onnx.ModelProto
        With the same inputs and outputs, none of its arithmetic in float16.
    """
    rounded = copy.deepcopy(model)
    types = element_types(rounded)
    low = {name: kind for name, kind in types.items() if kind in LOW}
    graph = rounded.graph
    for tensor in graph.initializer:
        if tensor.name in low:
            tensor.CopyFrom(_widened(tensor))
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "Cast":
            nodes += _cast(node, low)
            continue
        for attribute in node.attribute:
            if attribute.HasField("t") and attribute.t.data_type in LOW:
                attribute.t.CopyFrom(_widened(attribute.t))
        nodes.append(node)
        if node.op_type in MOVES or _is_nearest(node):
            continue
        for position, name in enumerate(node.output):
            if name in low:
                node.output[position] = name + "_exact"
                nodes += _round(name + "_exact", name, low[name])
    ordered = [copy.deepcopy(node) for node in nodes]
    del graph.node[:]
    graph.node.extend(ordered)
    del graph.value_info[:]
    _restore_opset(rounded)
    return rounded


def _restore_opset(model: onnx.ModelProto) -> None:
    """bfloat16 convolutions need a newer opset than the functions were written for."""
    own = {o.version for f in model.functions for o in f.opset_import if o.domain == ""}
    for opset in model.opset_import:
        if opset.domain == "" and own:
            opset.version = min(own)


def _cast(node: onnx.NodeProto, low: dict[str, int]) -> list[onnx.NodeProto]:
    """A cast to float16 rounds; one back has nothing left to do."""
    source, result = node.input[0], node.output[0]
    if result in low:
        return _round(source, result, low[result])
    if source in low:
        return [helper.make_node("Identity", [source], [result], name=node.name)]
    return [node]


def _round(source: str, result: str, kind: int) -> list[onnx.NodeProto]:
    between = result + "_low"
    return [
        helper.make_node("Cast", [source], [between], name=f"round_{result}", to=kind),
        helper.make_node("Cast", [between], [result], name=f"widen_{result}", to=TensorProto.FLOAT),
    ]


def _widened(tensor: onnx.TensorProto) -> onnx.TensorProto:
    values = numpy_helper.to_array(tensor).astype(np.float32)
    return numpy_helper.from_array(values, tensor.name)


def _is_nearest(node: onnx.NodeProto) -> bool:
    modes = [a.s for a in node.attribute if a.name == "mode"]
    return node.op_type == "Resize" and modes in ([], [b"nearest"])
