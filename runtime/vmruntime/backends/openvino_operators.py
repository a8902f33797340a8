"""OpenVINO's operators as the U-Net needs them; tensors are ``(1, C, D, H, W)``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.unet.quantization import QuantizedWeights
from vmruntime.unet.rewrite import grouped_weights, upsampling_weights

__all__ = ["Operators", "shape_of"]

ONES = (1,) * 3
"""Strides, or dilations, of a plain convolution."""

PADS = (1,) * 6
"""Of a 3x3x3 convolution that keeps the grid."""


def shape_of(tensor: Any) -> list[int]:
    """Shape of a tensor."""
    output = tensor if hasattr(tensor, "get_shape") else tensor.output(0)
    return list(output.get_shape())


class Operators:
    """Makes nodes of an OpenVINO model; `openvino` is imported when the first one is made."""

    def __init__(self) -> None:
        from openvino import opset15

        self._ops: Any = opset15

    def parameter(self, name: str, shape: Sequence[int]) -> Any:
        """An input of the model, float32."""
        parameter = self._ops.parameter(list(shape), np.float32, name)
        parameter.output(0).set_names({name})
        return parameter

    def concat(self, tensors: Sequence[Any], axis: int = 1) -> Any:
        """Tensors one after the other; a single one as it is."""
        return tensors[0] if len(tensors) == 1 else self._ops.concat(list(tensors), axis)

    def channels_first(self, tensor: Any) -> Any:
        """``(1, D, H, W, C)`` as the other operators take it; convolutions undo it for free."""
        return self._ops.transpose(tensor, self._whole_numbers(0, 4, 1, 2, 3))

    def planes(self, tensor: Any, first: int, last: int) -> Any:
        """Some planes along the first axis of the grid."""
        ends = (self._whole_numbers(value) for value in (first, last, 1, 2))
        return self._ops.slice(tensor, *ends)

    def convolve(
        self,
        source: Any,
        weights: NDArray[Any],
        bias: NDArray[Any] | None = None,
        strides: Sequence[int] = ONES,
        pads: Sequence[int] = PADS,
    ) -> Any:
        """A convolution; `pads` are those in front of each axis, then those behind."""
        values = self._ops.constant(np.ascontiguousarray(weights, np.float32))
        begin, end = list(pads[:3]), list(pads[3:])
        result = self._ops.convolution(source, values, list(strides), begin, end, list(ONES))
        return self.add_bias(result, bias)

    def convolve_quantized(
        self,
        source: Any,
        weights: QuantizedWeights,
        bias: NDArray[Any] | None,
        strides: Sequence[int],
        pads: Sequence[int],
    ) -> Any:
        """A convolution with INT8 weights; with a quantized source OpenVINO does it in INT8."""
        values = self._ops.convert(self._ops.constant(weights.values), "f32")
        steps = self._ops.constant(weights.scales.reshape(-1, 1, 1, 1, 1))
        kernel = self._ops.multiply(values, steps)
        begin, end = list(pads[:3]), list(pads[3:])
        result = self._ops.convolution(source, kernel, list(strides), begin, end, list(ONES))
        return self.add_bias(result, bias)

    def fake_quantize(self, tensor: Any, scale: float) -> Any:
        """A tensor rounded to signed multiples of a step that 8 bits hold."""
        ends = [
            self._ops.constant(np.full((1,) * 5, count * scale, np.float32))
            for count in (-128, 127)
        ]
        return self._ops.fake_quantize(tensor, *ends, *ends, 256)

    def convolve_doubled(self, coarse: Any, weights: NDArray[Any]) -> Any:
        """A 3x3x3 convolution of a grid that was doubled; see `upsampling_weights`."""
        kernel = self._ops.constant(upsampling_weights(weights))
        ones = list(ONES)
        return self._ops.convolution_backprop_data(
            coarse, kernel, [2, 2, 2], pads_begin=ones, pads_end=ones, dilations=ones
        )

    def convolve_in_groups(
        self, source: Any, weights: NDArray[Any], bias: NDArray[Any] | None
    ) -> Any:
        """A 3x3x3 convolution, four voxels at once, put in order; see `grouped_weights`."""
        four = None if bias is None else np.repeat(bias, 4)
        grouped = self.convolve(source, grouped_weights(weights), four, (1, 2, 2))
        _, _, d, h, w = shape_of(source)
        out = len(weights)
        apart = self._reshape(grouped, out, 2, 2, d, h // 2, w // 2)
        ordered = self._ops.transpose(apart, self._whole_numbers(0, 3, 4, 1, 5, 2))
        return self._reshape(ordered, 1, out, d, h, w)

    def add(self, terms: Sequence[Any]) -> Any:
        """The sum of tensors."""
        total = terms[0]
        for term in terms[1:]:
            total = self._ops.add(total, term)
        return total

    def add_bias(self, tensor: Any, bias: NDArray[Any] | None) -> Any:
        """A number for each channel added."""
        if bias is None:
            return tensor
        values = bias.astype(np.float32).reshape(1, -1, 1, 1, 1)
        return self._ops.add(tensor, self._ops.constant(values))

    def leaky_relu(self, tensor: Any, slope: float) -> Any:
        """Negative values times the slope."""
        return self._ops.prelu(tensor, self._ops.constant(np.array([slope], np.float32)))

    def max_pool(self, tensor: Any) -> Any:
        """The largest of 2x2x2 voxels."""
        two, none = [2, 2, 2], [0, 0, 0]
        return self._ops.max_pool(tensor, two, list(ONES), none, none, two).output(0)

    def double(self, tensor: Any) -> Any:
        """The grid doubled by repetition."""
        return self._ops.interpolate(
            tensor,
            self._ops.constant(np.full(3, 2, np.float32)),
            "nearest",
            "scales",
            axes=self._whole_numbers(2, 3, 4),
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )

    def _whole_numbers(self, *values: int) -> Any:
        return self._ops.constant(np.array(values, np.int64))

    def _reshape(self, tensor: Any, *shape: int) -> Any:
        return self._ops.reshape(tensor, self._whole_numbers(*shape), False)
