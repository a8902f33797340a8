"""The U-Net of an artifact as an OpenVINO model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.backends.openvino_operators import ONES, PADS, Operators, shape_of
from vmruntime.errors import BackendUnavailableError
from vmruntime.unet.graph import Graph, Node
from vmruntime.unet.quantization import activation_scale, quantized_weights

__all__ = ["build_unet"]

SLAB_BYTES = 100 << 20
"""How much of a tensor that only the pooling looks at is there at a time."""


def build_unet(
    graph: Graph,
    prediction: str,
    shape: tuple[int, int, int],
    features: tuple[str, int] | None = None,
) -> Any:
    """Build the part of a graph that computes its prediction, for one grid.

    Convolutions over a doubled grid become transposed ones, and the head computes four voxels at
    once (see `vmruntime.unet.rewrite`). Weights are float32 whatever the file has, but for those of
    quantized convolutions, which are left as they are: sums of weights do not fit into INT8.

    Parameters
    ----------
    graph
        The artifact's.
    prediction
        Name of the tensor where the U-Net ends.
    shape
        ``(D, H, W)`` of the inputs.
    features
        Name and channels of a tensor at half of that shape to begin with instead.

    Returns
    -------
    openvino.Model
        Inputs ``moving`` and ``fixed``, ``(1, C, D, H, W)`` float32, or one input ``features``,
        ``(1, D / 2, H / 2, W / 2, C)``; one output, ``(1, 3, d, h, w)`` float32.

    Raises
    ------
    BackendUnavailableError
        The U-Net has an operator that VoxelMorph's do not have.
    """
    from openvino import Model

    builder = _Builder(graph, prediction, features)
    inputs = builder.begin(shape)
    return Model([builder.build()], inputs, "unet")


class _Builder:
    """Turns nodes into OpenVINO's, in order.

    Parameters
    ----------
    graph, prediction, features
        As in `build_unet`.
    """

    def __init__(self, graph: Graph, prediction: str, features: tuple[str, int] | None) -> None:
        self._make = Operators()
        self._graph = graph
        self._prediction = prediction
        self._features = features
        self._nodes = graph.needed_for(prediction, features[0] if features else None)
        self._tensors: dict[str, Any] = {}
        self._doubled: dict[str, Any] = {}
        """What a tensor is the doubling of."""
        self._parts: dict[str, list[str]] = {}
        """What a tensor is the concatenation of."""

    def begin(self, shape: tuple[int, int, int]) -> list[Any]:
        """The inputs."""
        if self._features:
            name, channels = self._features
            features = self._make.parameter("features", (1, *(n // 2 for n in shape), channels))
            self._tensors[name] = self._make.channels_first(features)
            return [features]
        for given in self._graph.inputs:
            size = (1, given.shape[1] or 1, *shape)
            self._tensors[given.name] = self._make.parameter(given.name, size)
        return list(self._tensors.values())

    def build(self) -> Any:
        """The prediction."""
        kinds = {
            "Cast": self._cast,
            "Concat": self._concat,
            "Conv": self._convolution,
            "DequantizeLinear": self._dequantize,
            "LeakyRelu": self._leaky_relu,
            "MaxPool": self._max_pool,
            "QuantizeLinear": self._quantize,
            "Resize": self._double,
        }
        for node in self._nodes:
            if node.operator not in kinds:
                raise _foreign(node)
            if quantized_weights(self._graph, node.outputs[0]):
                continue  # the convolution takes them as they are
            self._tensors[node.outputs[0]] = kinds[node.operator](node)
        return self._tensors[self._prediction]

    def _cast(self, node: Node) -> Any:
        # Between float32 and float16: the engine computes in the type that it is told.
        return self._tensors[node.inputs[0]]

    def _quantize(self, node: Node) -> Any:
        scale = activation_scale(self._graph, node)
        if scale is None:
            raise _foreign(node)
        return self._make.fake_quantize(self._tensors[node.inputs[0]], scale)

    def _dequantize(self, node: Node) -> Any:
        # To OpenVINO a tensor is quantized and brought back in one; how it goes on is its choice.
        maker = self._graph.producers.get(node.inputs[0])
        scale = activation_scale(self._graph, node)
        if maker is None or scale is None or activation_scale(self._graph, maker) != scale:
            raise _foreign(node)
        return self._tensors[node.inputs[0]]

    def _concat(self, node: Node) -> Any:
        if node.attributes.get("axis") != 1:
            raise _foreign(node)
        self._parts[node.outputs[0]] = list(node.inputs)
        # Where a convolution takes the parts one by one, nothing uses this, and it is left out.
        return self._make.concat([self._tensors[name] for name in node.inputs])

    def _double(self, node: Node) -> Any:
        scales = self._graph.weights.get(node.inputs[2]) if len(node.inputs) > 2 else None
        _require(
            node,
            scales is not None and scales.tolist() == [1, 1, 2, 2, 2],
            mode="nearest",
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )
        source = self._tensors[node.inputs[0]]
        self._doubled[node.outputs[0]] = source
        return self._make.double(source)

    def _leaky_relu(self, node: Node) -> Any:
        return self._make.leaky_relu(self._tensors[node.inputs[0]], _slope(node))

    def _max_pool(self, node: Node) -> Any:
        two, none = (2,) * 3, (0,) * 6
        plain = node.attributes.get("dilations", ONES) == ONES
        plain &= node.attributes.get("auto_pad", "NOTSET") == "NOTSET"
        plain &= node.attributes.get("ceil_mode", 0) == 0
        _require(node, plain, kernel_shape=two, strides=two, pads=none)
        slabs = self._pooled_slabs(node.inputs[0])
        if slabs:
            return self._make.concat(slabs, 2)
        return self._make.max_pool(self._tensors[node.inputs[0]])

    def _pooled_slabs(self, source: str) -> list[Any]:
        """A convolution, its LeakyReLU and the pooling, for some planes after the others.

        The first convolution's result is the largest tensor of all, and where nothing but the
        pooling looks at it, it need never be there as a whole. Empty where it is small, or other
        nodes look at it too.
        """
        activation = self._graph.producers.get(source)
        convolution = self._graph.producers.get(activation.inputs[0]) if activation else None
        planes = shape_of(self._tensors[source])[2]
        size = 4 * int(np.prod(shape_of(self._tensors[source])))
        if (
            activation is None
            or convolution is None
            or (convolution.operator, activation.operator) != ("Conv", "LeakyRelu")
            or not _keeps_grid(convolution)
            or quantized_weights(self._graph, convolution.inputs[1])
            or size <= SLAB_BYTES
            or planes % 2
            or not all(self._has_one_reader(name) for name in (source, activation.inputs[0]))
        ):
            return []
        weights, bias = self._weights(convolution)
        parts = self._parts.get(convolution.inputs[0], [convolution.inputs[0]])
        step = 2 * max(1, planes * SLAB_BYTES // size // 2)
        pooled = []
        for first in range(0, planes, step):
            last = min(first + step, planes)
            above, below = min(first, 1), min(planes - last, 1)
            slab = self._make.concat(
                [self._make.planes(self._tensors[p], first - above, last + below) for p in parts]
            )
            pads = (1 - above, 1, 1, 1 - below, 1, 1)
            result = self._make.convolve(slab, weights, bias, ONES, pads)
            pooled.append(self._make.max_pool(self._make.leaky_relu(result, _slope(activation))))
        return pooled

    def _has_one_reader(self, tensor: str) -> bool:
        return sum(node.inputs.count(tensor) for node in self._nodes) == 1

    def _convolution(self, node: Node) -> Any:
        attributes = node.attributes
        strides, pads = attributes.get("strides", ONES), attributes.get("pads", (0,) * 6)
        source = node.inputs[0]
        quantized = quantized_weights(self._graph, node.inputs[1])
        if quantized:
            _require(node, _is_plain(node))
            return self._make.convolve_quantized(
                self._tensors[source], quantized, self._bias(node), strides, pads
            )
        weights, bias = self._weights(node)
        parts = self._parts.get(source, [source])
        if _keeps_grid(node) and any(part in self._doubled for part in parts):
            return self._make.add_bias(self._over_doubled(parts, weights), bias)
        tensor = self._tensors[source]
        even = all(size % 2 == 0 for size in shape_of(tensor)[3:])
        if _keeps_grid(node) and node.outputs[0] == self._prediction and even:
            return self._make.convolve_in_groups(tensor, weights, bias)
        return self._make.convolve(tensor, weights, bias, strides, pads)

    def _over_doubled(self, parts: list[str], weights: NDArray[Any]) -> Any:
        """The sum of a transposed convolution for each doubled part, and one for all others."""
        terms, others, others_weights, at = [], [], [], 0
        for part in parts:
            coarse = self._doubled.get(part)
            tensor = self._tensors[part] if coarse is None else coarse
            channels = shape_of(tensor)[1]
            own, at = weights[:, at : at + channels], at + channels
            if coarse is None:
                others.append(tensor)
                others_weights.append(own)
            else:
                terms.append(self._make.convolve_doubled(coarse, own))
        if others:
            source = self._make.concat(others)
            terms.append(self._make.convolve(source, np.concatenate(others_weights, 1)))
        return self._make.add(terms)

    def _weights(self, node: Node) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Weights and bias of a convolution without groups or dilations."""
        weights = self._graph.weights.get(node.inputs[1])
        if weights is None or weights.ndim != 5:
            raise _foreign(node)
        _require(node, _is_plain(node))
        return weights, self._bias(node)

    def _bias(self, node: Node) -> NDArray[Any] | None:
        if len(node.inputs) < 3:
            return None
        bias = self._graph.weights.get(node.inputs[2])
        if bias is None:
            raise _foreign(node)
        return bias


def _is_plain(convolution: Node) -> bool:
    """Whether a convolution has neither groups nor dilations."""
    attributes = convolution.attributes
    plain = attributes.get("group", 1) == 1 and attributes.get("dilations", ONES) == ONES
    return bool(plain and attributes.get("auto_pad", "NOTSET") == "NOTSET")


def _keeps_grid(convolution: Node) -> bool:
    """Whether a convolution is 3x3x3 with one voxel of zeros around its input."""
    attributes = convolution.attributes
    return (
        attributes.get("kernel_shape") == (3,) * 3
        and attributes.get("strides", ONES) == ONES
        and attributes.get("pads") == PADS
    )


def _slope(activation: Node) -> float:
    return float(activation.attributes.get("alpha", 0.01))


def _require(node: Node, also: bool, **attributes: Any) -> None:
    """Raise where a node is not as VoxelMorph's are."""
    if not also or any(node.attributes.get(name) != value for name, value in attributes.items()):
        raise _foreign(node)


def _foreign(node: Node) -> BackendUnavailableError:
    return BackendUnavailableError(
        f"the openvino backend does not know the operator {node.operator} as this model uses it; "
        "--backend onnxruntime runs it"
    )
