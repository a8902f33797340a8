"""What numbers flow through a U-Net: per tensor and per channel, over any number of scans."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from vmcalibration.histogram import COARSE, HALF_LARGEST, HALF_OVERFLOW, Histogram, count
from vmcalibration.walk import walk
from vmexport.precision import Layer
from vmexport.verification import Pair

__all__ = ["Ranges", "TensorRange", "range_of_weights"]

SHARES = {"p0.1": 0.001, "p1": 0.01, "p50": 0.5, "p99": 0.99, "p99.9": 0.999}


@dataclass(frozen=True, eq=False)
class TensorRange:
    """What one tensor held.

    Parameters
    ----------
    operator
        What made it.
    low, high
        ``(C,)`` float32: smallest and largest value of each channel.
    counts
        ``(BINS,)`` int64, see `Histogram`.
    channel_counts
        ``(C, COARSE)`` int64.
    """

    operator: str
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    counts: NDArray[np.int64]
    channel_counts: NDArray[np.int64]

    @classmethod
    def of(cls, operator: str, data: NDArray[np.float32], threads: int = 1) -> TensorRange:
        """Measure ``(1, C, ...)`` float32; anything else counts as one channel."""
        channels = data[0] if data.ndim == 5 else data.reshape(1, -1)
        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(_measure, channels))
        counts = np.stack([part[2] for part in parts])
        return cls(
            operator,
            np.array([part[0] for part in parts], np.float32),
            np.array([part[1] for part in parts], np.float32),
            counts.sum(0),
            counts.reshape(len(parts), COARSE, -1).sum(2),
        )

    def plus(self, other: TensorRange) -> TensorRange:
        """Both together."""
        return TensorRange(
            self.operator,
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            self.counts + other.counts,
            self.channel_counts + other.channel_counts,
        )

    @property
    def largest(self) -> float:
        """Largest absolute value."""
        return float(max(-self.low.min(), self.high.max(), 0))

    @property
    def overflows(self) -> bool:
        """Whether a value becomes infinite in float16."""
        return self.largest >= HALF_OVERFLOW

    @property
    def histogram(self) -> Histogram:
        """Counts of all channels."""
        return Histogram(self.counts)

    def report(self) -> dict[str, Any]:
        """Plain values for the report, channels included."""
        values = self.histogram
        return {
            "operator": self.operator,
            "min": float(self.low.min()),
            "max": float(self.high.max()),
            **dict(zip(SHARES, values.quantiles(list(SHARES.values())), strict=True)),
            "fp16_overflow_share": _overflow(values, self.overflows),
            "fp16_flush_share": values.share_flushed(),
            "fp16_subnormal_share": values.share_subnormal(),
            "fp16_headroom": HALF_LARGEST / self.largest if self.largest else None,
            "channels": [self._channel(index) for index in range(len(self.low))],
        }

    def _channel(self, index: int) -> dict[str, float]:
        values = Histogram(self.channel_counts[index])
        low, high = float(self.low[index]), float(self.high[index])
        over = max(-low, high) >= HALF_OVERFLOW
        quantiles = np.clip(values.quantiles(list(SHARES.values())), low, high)
        return {
            "min": low,
            "max": high,
            **dict(zip(SHARES, (float(value) for value in quantiles), strict=True)),
            "fp16_overflow_share": _overflow(values, over),
            "fp16_flush_share": values.share_flushed(),
        }


@dataclass
class Ranges:
    """The ranges of every tensor of a U-Net, collected pair by pair."""

    tensors: dict[str, TensorRange] = field(default_factory=dict)

    def collect(self, model: onnx.ModelProto, pair: Pair, threads: int) -> None:
        """Run one pair through the float32 U-Net and add what it holds.

        Raises
        ------
        CalibrationError
            A tensor is not finite, or onnxruntime failed; nothing of the pair is added then.
        """
        found: dict[str, TensorRange] = {}

        def look(node: onnx.NodeProto, result: NDArray[np.float32]) -> None:
            if result.size > 1 and node.op_type != "Constant":
                found[node.output[0]] = TensorRange.of(node.op_type, result, threads)

        feeds = {"moving": pair.moving[np.newaxis], "fixed": pair.fixed[np.newaxis]}
        walk(model, feeds, look, threads)
        for name, held in found.items():
            self.tensors[name] = self.tensors[name].plus(held) if name in self.tensors else held

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Everything as arrays, to be stored."""
        arrays: dict[str, NDArray[Any]] = {
            "names": np.array(list(self.tensors), np.str_),
            "operators": np.array([held.operator for held in self.tensors.values()], np.str_),
        }
        for index, held in enumerate(self.tensors.values()):
            for key in ("low", "high", "counts", "channel_counts"):
                arrays[f"{key}_{index}"] = getattr(held, key)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Ranges:
        """What `to_arrays` gave."""
        tensors = {}
        for index, (name, operator) in enumerate(
            zip(arrays["names"], arrays["operators"], strict=True)
        ):
            tensors[str(name)] = TensorRange(
                str(operator),
                *(arrays[f"{key}_{index}"] for key in ("low", "high", "counts", "channel_counts")),
            )
        return cls(tensors)


def range_of_weights(model: onnx.ModelProto, layer: Layer) -> TensorRange:
    """The same of a layer's weights; a channel is what makes one output channel."""
    tensor = next(t for t in model.graph.initializer if t.name == layer.weights)
    values = numpy_helper.to_array(tensor).astype(np.float32)
    if layer.operator == "ConvTranspose":
        values = np.moveaxis(values, 1, 0)
    return TensorRange.of("weights", values.reshape(1, len(values), -1, 1, 1))


def _measure(channel: NDArray[np.float32]) -> tuple[float, float, NDArray[np.int64]]:
    return float(channel.min()), float(channel.max()), count(channel)


def _overflow(values: Histogram, over: bool) -> float:
    """Never zero where there is a value that overflows, however few they are."""
    share = values.share_not_below(65536.0)
    return max(share, 1 / max(values.total, 1)) if over else share
