"""The pass that replaces stored identity grids by nodes that compute them.

Many modules keep the identity grid of their warps as a buffer (voxelmorph's own SpatialTransformer
does), and the exporter embeds it as a constant: 83 MB for one grid of 160x192x224, in a model of
1.3 MB. A grid is a tensor whose entries depend linearly on one index each, so that it can be told
from its values.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

__all__ = ["compute_identity_grids"]

SMALLEST = 1 << 14
"""Elements; smaller constants are not worth nodes, and weights may be regular by chance."""


def compute_identity_grids(model: onnx.ModelProto) -> int:
    """Replace every constant that is an identity grid, in place.

    Parameters
    ----------
    model
        Its initializers and Constant nodes are looked at.

    Returns
    -------
    int
        Number of constants replaced.
    """
    graph = model.graph
    found = 0
    for tensor in list(graph.initializer):
        nodes = _grid_nodes(tensor)
        if nodes:
            graph.initializer.remove(tensor)
            for node in reversed(nodes):
                graph.node.insert(0, node)
            found += 1
    for constant in [node for node in graph.node if node.op_type == "Constant"]:
        value = next((a.t for a in constant.attribute if a.name == "value"), None)
        if value is None:
            continue
        named = onnx.TensorProto()
        named.CopyFrom(value)
        named.name = constant.output[0]
        nodes = _grid_nodes(named)
        if nodes:
            at = list(graph.node).index(constant)
            graph.node.remove(constant)
            for node in reversed(nodes):
                graph.node.insert(at, node)
            found += 1
    return found


def _grid_nodes(tensor: onnx.TensorProto) -> list[onnx.NodeProto]:
    """Nodes that compute a constant from ranges, or none where it is no grid."""
    if int(np.prod(tensor.dims)) < SMALLEST or tensor.data_type not in (
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.INT64,
    ):
        return []
    values = numpy_helper.to_array(tensor)
    channels = [axis for axis, size in enumerate(values.shape) if size == 3]
    # A grid without an axis of channels (one coordinate only) is a single ramp.
    for channel in [*channels, None]:
        parts = [values] if channel is None else np.split(values, 3, axis=channel)
        ramps = [_ramp_axis(part) for part in parts]
        if all(axis is not None for axis in ramps):
            return _nodes(tensor.name, parts, [axis or 0 for axis in ramps], channel)
    return []


def _ramp_axis(part: NDArray[np.generic]) -> int | None:
    """The one axis along which an array varies, or None where it varies along several or none."""
    axes = [axis for axis, size in enumerate(part.shape) if size > 1]
    for axis in axes:
        line = part[tuple(slice(None) if i == axis else slice(0, 1) for i in range(part.ndim))]
        if np.array_equal(np.broadcast_to(line, part.shape), part):
            return axis
    return None


def _nodes(
    name: str, parts: list[NDArray[np.generic]], axes: list[int], channel: int | None
) -> list[onnx.NodeProto]:
    """Each part as a line (a range where it is one, else its values) expanded to its shape."""
    numbers = (f"{name}_grid_{i}" for i in itertools.count())
    nodes: list[onnx.NodeProto] = []

    def add(op: str, inputs: list[str], **attributes: Any) -> str:
        output = next(numbers)
        nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def constant(value: NDArray[np.generic]) -> str:
        return add("Constant", [], value=numpy_helper.from_array(value))

    expanded = []
    for part, axis in zip(parts, axes, strict=True):
        index: list[slice | int] = [0] * part.ndim
        index[axis] = slice(None)
        line = np.ascontiguousarray(part[tuple(index)])
        if np.array_equal(line, np.arange(line.size, dtype=line.dtype)):
            ends = [constant(np.array(end, line.dtype)) for end in (0, line.size, 1)]
            ramp = add("Range", ends)
        else:
            ramp = constant(line)  # normalised coordinates: one short line, exactly as stored
        shape = [1] * part.ndim
        shape[axis] = -1
        shaped = add("Reshape", [ramp, constant(np.array(shape, np.int64))])
        expanded.append(add("Expand", [shaped, constant(np.array(part.shape, np.int64))]))
    if channel is None:
        nodes[-1].output[0] = name
    else:
        nodes.append(helper.make_node("Concat", expanded, [name], name=name, axis=channel))
    return nodes
