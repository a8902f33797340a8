"""Thresholds of INT8 layers, one for all tensors that are each other's copies.

Pooling, nearest resizing and concatenation hand values on. Where what goes in and what comes out
have one scale, a tensor is rounded once and stays in 8 bits all the way, and both readers of a skip
connection read the same bytes; with several scales an engine would have to convert between them.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from vmcalibration.options import Method
from vmcalibration.ranges import Ranges
from vmcalibration.thresholds import threshold
from vmexport.precision import Layer

__all__ = ["shared_thresholds"]

HANDING_ON = ("MaxPool", "Resize", "Concat", "Identity")


def shared_thresholds(
    model: onnx.ModelProto, layers: Sequence[Layer], ranges: Ranges, method: Method
) -> dict[str, float]:
    """For each layer the absolute value of its input that becomes 127.

    Parameters
    ----------
    model
        The artifact's, in float32.
    layers
        The layers that may be quantized.
    ranges
        What their inputs held.
    method
        See `threshold`.
    """
    group = _groups(model, set(ranges.tensors))
    cut = {
        layer.source: threshold(ranges.tensors[layer.source], method)
        for layer in layers
        if layer.source in ranges.tensors
    }
    largest: dict[str, float] = {}
    for tensor, value in cut.items():
        root = group.get(tensor, tensor)
        largest[root] = max(largest.get(root, 0.0), value)
    return {
        layer.name: largest[group.get(layer.source, layer.source)]
        for layer in layers
        if layer.source in cut
    }


def _groups(model: onnx.ModelProto, known: set[str]) -> dict[str, str]:
    """For each tensor, one name for it and all that it is handed on to or from."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.get(name, name) != name:
            name = parent[name]
        return name

    for node in model.graph.node:
        if node.op_type in HANDING_ON and node.output[0] in known:
            for name in node.input:
                if name in known:
                    parent[root(name)] = root(node.output[0])
    return {name: root(name) for name in known}
