"""A float32 artifact's U-Net in float16, its tail left in float32.

The same split as ``vm-export --precision fp16`` makes, found in the graph alone: whatever a
convolution depends on is the U-Net, whatever comes after the last convolution is the tail. Single
layers of the U-Net can be left in float32 too, as a precision plan says.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Collection

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vmexport.errors import ExportError
from vmexport.graph.half_kernels import half_kernels

__all__ = ["CONVOLUTIONS", "element_types", "split_unet", "to_half"]

CONVOLUTIONS = {"Conv", "ConvTranspose"}

UNET = CONVOLUTIONS | {
    *("Add", "AveragePool", "Clip", "Concat", "Constant", "Elu", "Expand", "Gather", "Identity"),
    *("InstanceNormalization", "LeakyRelu", "MaxPool", "Mul", "PRelu", "Pad", "Relu", "Reshape"),
    *("Resize", "Shape", "Sigmoid", "Slice", "Split", "Squeeze", "Sub", "Tanh", "Unsqueeze"),
    *("Upsample", "Div", "Floor", "Range", "Transpose", "BatchNormalization"),
}
"""Operators that a U-Net is made of and that have a float16 form."""

KERNELS = 5
"""Axes of the weights of a 3-D convolution."""

FLOAT32_INPUTS = {"Resize": {2}}
"""Inputs that are float32 whatever the type of the data: Resize's scales."""


BFLOAT16_OPSET = 22


def to_half(
    model: onnx.ModelProto,
    kept: Collection[str] = (),
    kind: int = TensorProto.FLOAT16,
) -> onnx.ModelProto:
    """Convert the U-Net of a float32 artifact to float16.

    Parameters
    ----------
    model
        An artifact's, in float32. It is not changed.
    kept
        Names of the outputs of convolutions that stay in float32. What follows such a one
        (activation, pooling, resize, concatenation) does so too, up to the next convolution.
    kind
        ``TensorProto.FLOAT16``, or ``BFLOAT16``, which engines hardly take but
        `vmexport.precision.as_rounded` does.

    Returns
    -------
    onnx.ModelProto
        A copy: weights and activations up to the last convolution in float16, its output cast back
        to float32; inputs, outputs and tail in float32. The manifest is the caller's to change.

    Raises
    ------
    ExportError
        The U-Net has float16 parts already, or cannot be told from the tail.
    """
    halved = copy.deepcopy(model)
    if kind == TensorProto.BFLOAT16:
        _allow_bfloat16(halved)
    types = element_types(halved)
    if TensorProto.FLOAT16 in types.values():
        raise ExportError("the model has float16 parts already; convert one in fp32")
    if TensorProto.BFLOAT16 in types.values() or TensorProto.DOUBLE in types.values():
        raise ExportError("the model is not all float32; convert one exported with fp32")
    graph = halved.graph
    head, unet = split_unet(graph)
    floats = {name for name, found in types.items() if found == TensorProto.FLOAT}
    inside = {name for index in unet for name in graph.node[index].output} & floats
    constants = {tensor.name: tensor for tensor in graph.initializer}
    _require_one_way_out(graph, head, unet, inside)
    low = _halved_nodes(graph, unet, inside, set(kept))
    inside = {name for index in low for name in graph.node[index].output} & floats
    nodes: list[onnx.NodeProto] = []
    casts: dict[str, str] = {}
    for index, node in enumerate(graph.node):
        for position, name in enumerate(node.input if index in unet else ()):
            half = index in low and position not in FLOAT32_INPUTS.get(node.op_type, set())
            if name not in floats or half == (name in inside):
                continue
            if name not in casts:
                casts[name] = name + ("_half" if half else "_float")
                if name in constants:
                    graph.initializer.append(_half_tensor(constants[name], casts[name], kind))
                else:
                    nodes.append(_cast(name, casts[name], kind if half else TensorProto.FLOAT))
            node.input[position] = casts[name]
        nodes.append(node)
        if index in low and node.op_type == "Constant":
            _halve_constant(node, kind)
        if index == head and index in low:
            result = node.output[0]
            node.output[0] = result + "_half"
            nodes.append(_cast(node.output[0], result, TensorProto.FLOAT))
    # A list first: the nodes to keep are those of the field that is emptied.
    ordered = [copy.deepcopy(node) for node in nodes]
    del graph.node[:]
    graph.node.extend(ordered)
    _drop_unused(graph)
    del graph.value_info[:]
    if kind == TensorProto.FLOAT16:  # with bfloat16 it is only half way to `as_rounded`
        onnx.checker.check_model(halved, full_check=True)
    return halved


def _allow_bfloat16(model: onnx.ModelProto) -> None:
    """Convolutions take it from opset 22 on; no operator of a U-Net is another one there."""
    for opset in model.opset_import:
        if opset.domain == "":
            opset.version = max(opset.version, BFLOAT16_OPSET)


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every tensor of the graph that can be told."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    types = {
        info.name: info.type.tensor_type.elem_type
        for info in (*inferred.input, *inferred.value_info, *inferred.output)
    }
    types |= {tensor.name: tensor.data_type for tensor in inferred.initializer}
    return types


def split_unet(graph: onnx.GraphProto) -> tuple[int, set[int]]:
    """Index of the last convolution's node, and the nodes up to it that carry data.

    Raises
    ------
    ExportError
        The U-Net cannot be told from the tail.
    """
    maker = {name: index for index, node in enumerate(graph.node) for name in node.output}
    ancestors: dict[int, set[int]] = {}
    for index, node in enumerate(graph.node):
        # Nodes are in topological order: the checker holds every model to that.
        above: set[int] = set()
        for name in node.input:
            if name in maker:
                above |= {maker[name]} | ancestors[maker[name]]
        ancestors[index] = above
    convolutions = {i for i, node in enumerate(graph.node) if node.op_type in CONVOLUTIONS}
    if not convolutions:
        raise ExportError("the model has no convolution; there is no U-Net to convert to float16")
    heads = [i for i in convolutions if not any(i in ancestors[other] for other in convolutions)]
    if len(heads) != 1:
        raise ExportError(
            f"the model has {len(heads)} last convolutions, which does not tell its U-Net from the "
            "tail; export the checkpoint with --precision fp16"
        )
    unet = ancestors[heads[0]] | {heads[0]}
    unet -= {
        maker[node.input[position]]
        for node in graph.node
        for position in FLOAT32_INPUTS.get(node.op_type, set())
        if position < len(node.input) and node.input[position] in maker
    }
    # The scans are put together in float32 and rounded once, as the exporter does.
    inputs = {tensor.name for tensor in graph.input}
    unet -= {
        i for i in unet if graph.node[i].op_type == "Concat" and set(graph.node[i].input) <= inputs
    }
    strange = sorted({graph.node[i].op_type for i in unet} - UNET)
    if strange:
        raise ExportError(
            f"before its last convolution the model has {', '.join(strange)}, which does not tell "
            "its U-Net from the tail; export the checkpoint with --precision fp16"
        )
    return heads[0], unet


def _halved_nodes(
    graph: onnx.GraphProto, unet: set[int], inside: set[str], kept: set[str]
) -> set[int]:
    """The nodes that are to be in float16: not the kept ones, nor those that follow them."""
    low: set[int] = set()
    held: set[str] = set()
    for index in sorted(unet):
        node = graph.node[index]
        if node.op_type in CONVOLUTIONS:
            stays = bool(kept.intersection(node.output))
        else:
            stays = bool(held.intersection(node.input))
        if stays:
            held |= inside.intersection(node.output)
        else:
            low.add(index)
    return low


def _require_one_way_out(
    graph: onnx.GraphProto, head: int, unet: set[int], inside: set[str]
) -> None:
    """Refuse a tail that takes more from the U-Net than its last convolution."""
    taken = {name for i, node in enumerate(graph.node) if i not in unet for name in node.input}
    taken |= {tensor.name for tensor in graph.output}
    others = sorted((taken & inside) - set(graph.node[head].output))
    if others:
        raise ExportError(
            f"the tail takes {', '.join(others)} from within the U-Net, not its last convolution "
            "alone; export the checkpoint with --precision fp16"
        )


def _half_tensor(tensor: onnx.TensorProto, name: str, kind: int) -> onnx.TensorProto:
    values = numpy_helper.to_array(tensor)
    if kind == TensorProto.FLOAT16 and np.abs(values).max(initial=0) > np.finfo(np.float16).max:
        raise ExportError(
            f"the weights {tensor.name!r} reach beyond what float16 holds (65504); keep fp32"
        )
    if kind == TensorProto.FLOAT16 and values.ndim == KERNELS:
        return numpy_helper.from_array(half_kernels(values), name)
    return numpy_helper.from_array(values.astype(helper.tensor_dtype_to_np_dtype(kind)), name)


def _halve_constant(node: onnx.NodeProto, kind: int) -> None:
    for attribute in node.attribute:
        if attribute.name == "value" and attribute.t.data_type == TensorProto.FLOAT:
            attribute.t.CopyFrom(_half_tensor(attribute.t, attribute.t.name, kind))
        elif attribute.name in ("value_float", "value_floats"):
            values = np.array(attribute.f if attribute.name == "value_float" else attribute.floats)
            tensor = numpy_helper.from_array(values.astype(helper.tensor_dtype_to_np_dtype(kind)))
            attribute.CopyFrom(helper.make_attribute("value", tensor))


def _cast(source: str, result: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [result], name=f"cast_{result}", to=kind)


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove the float32 weights that the float16 ones stand for."""
    uses: dict[str, int] = defaultdict(int)
    for node in graph.node:
        for name in node.input:
            uses[name] += 1
    kept = [tensor for tensor in graph.initializer if uses[tensor.name]]
    del graph.initializer[:]
    graph.initializer.extend(kept)
