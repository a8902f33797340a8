"""A U-Net in our own kernels: FP16 values on tensor cores, FP32 sums.

See ``csrc/cuda/unet.cuh`` for how a convolution is done. Here its weights are put in the order in
which the lanes of a warp take them, and a run becomes one launch for each 32 output channels of a
layer. Memory of a tensor is used again once everyone has read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.cuda.device import Argument, Device, Dim, Memory
from vmruntime.cuda.kernels import require_countable
from vmruntime.errors import BackendUnavailableError
from vmruntime.unet.layers import Layer, Part

__all__ = ["OLDEST_GPU", "UNet", "in_order_of_lanes"]

OLDEST_GPU = (8, 0)
"""Compute capability with the products of matrices that the kernels use."""

BOX: Dim = (16, 8, 2)
"""Voxels of a block along W, H, D."""
THREADS: Dim = (128, 1, 1)

STEP = 16
"""Channels of one product of matrices."""
MOST_CHANNELS = 32
"""Output channels of a launch."""
MOST_SOURCES = 12

SOURCE = np.dtype(
    [("data", "u8"), ("pitch", "i4"), ("first", "i4"), ("doubled", "i4"), ("unused", "i4")]
)
"""``struct Source`` of ``unet.cuh``."""

RESULTS = np.dtype(
    [
        ("whole", "u8"), ("pooled", "u8"), ("planar", "u8"),
        ("pitch", "i4"), ("first", "i4"), ("channels", "i4"), ("slope", "f4"),
    ]
)  # fmt: skip
"""``struct Results``."""

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Piece:
    """16 or 32 channels that a launch reads.

    Parameters
    ----------
    tensor
        Its name.
    pitch, first
        Channels of a voxel of it, and the first that is read.
    doubled
        See `Part`.
    channels
        Which of the convolution's channels these are; the rest are zeros.
    """

    tensor: str
    pitch: int
    first: int
    doubled: bool
    channels: range


@dataclass(frozen=True, eq=False)
class Launch:
    """Up to 32 output channels of a layer; what reads both scans has no pieces."""

    kernel: str
    layer: Layer
    pieces: tuple[Piece, ...]
    weights: Memory
    bias: Memory
    first: int
    channels: int


class UNet:
    """A U-Net's weights on a device, ready to run.

    Parameters
    ----------
    device
        Where it runs; closed by whoever opened it.
    layers
        What is to be computed, the prediction last; weights float16.
    scans
        Names of the two inputs, one channel each, in the order in which the network takes them.

    Raises
    ------
    BackendUnavailableError
        The network is not of a kind that the kernels know; the message says in what.
    DeviceMemoryError
        The weights do not fit.
    """

    def __init__(self, device: Device, layers: Sequence[Layer], scans: tuple[str, str]) -> None:
        self._device = device
        self._scans = scans
        self._held: list[Memory] = []
        self._idle: list[Memory] = []
        self._last = layers[-1]
        try:
            self._launches = [launch for layer in layers for launch in self._prepare(layer)]
        except BaseException:
            self.close()
            raise
        self._last_reader = {
            piece.tensor: number
            for number, launch in enumerate(self._launches)
            for piece in launch.pieces
        }

    @property
    def channels(self) -> int:
        """Of the prediction."""
        return len(self._last.bias)

    @property
    def level(self) -> int:
        """The prediction's grid is the model's, halved so many times."""
        return self._last.level

    def run(self, scans: Mapping[str, int], shape: Shape, prediction: int) -> None:
        """Put one run on the device's stream.

        Parameters
        ----------
        scans
            Address of each scan, float32 ``(D, H, W)``.
        shape
            ``(D, H, W)``, multiples of 2 for each time that the network halves its grid.
        prediction
            Address for the result, float32 ``(channels, d, h, w)``.

        Raises
        ------
        DeviceMemoryError
            Memory is short; the next run may well succeed.
        """
        require_countable(shape)
        there: dict[str, Memory] = {}
        try:
            for number, launch in enumerate(self._launches):
                self._launch(launch, scans, shape, prediction, there)
                for name in [n for n in there if self._last_reader.get(n, -1) <= number]:
                    if name not in _made_by(self._launches[number + 1 :]):
                        self._idle.append(there.pop(name))
        finally:
            self._idle += there.values()

    def close(self) -> None:
        """Give all memory back; any number of times."""
        for memory in (*self._held, *self._idle):
            self._device.free(memory)
        self._held.clear()
        self._idle.clear()

    def _prepare(self, layer: Layer) -> list[Launch]:
        if layer.weights.dtype != np.float16:
            raise BackendUnavailableError(
                f"the cuda backend takes weights in float16, not {layer.weights.dtype}"
            )
        alone = tuple(Part(name, 1) for name in self._scans)
        if layer.parts == alone:
            pieces: tuple[Piece, ...] = ()
            source_channels = 0
        else:
            pieces, source_channels = self._pieces(layer.parts)
        if len(pieces) > MOST_SOURCES:
            raise BackendUnavailableError(
                f"the cuda backend takes up to {MOST_SOURCES * source_channels} channels into one "
                f"convolution, and this model has {layer.weights.shape[1]}; --backend onnxruntime "
                "runs it"
            )
        launches = []
        for first in range(0, len(layer.bias), MOST_CHANNELS):
            channels = min(MOST_CHANNELS, len(layer.bias) - first)
            some = slice(first, first + channels)
            width = next(n for n in (8, 16, 32) if n >= channels and (source_channels or n > 8))
            if layer is not self._last and channels % STEP:
                width = 32 if channels > STEP else STEP  # what is read has whole steps
            table = (
                _rows_of_neighbours(layer.weights[some], width)
                if not source_channels
                else _rows_of_pieces(layer.weights[some], pieces, source_channels, width)
            )
            bias = np.zeros(width, np.float32)
            bias[:channels] = layer.bias[some]
            kernel = f"convolve_{source_channels}_{width}" if source_channels else f"scans_{width}"
            launches.append(
                Launch(
                    f"vm_unet_{kernel}", layer, pieces,
                    self._sent(in_order_of_lanes(table)), self._sent(bias), first, channels,
                )
            )  # fmt: skip
        return launches

    def _pieces(self, parts: Sequence[Part]) -> tuple[tuple[Piece, ...], int]:
        """A convolution's parts in pieces of one width, and the width."""
        wide = all(part.channels % MOST_CHANNELS == 0 for part in parts)
        width = MOST_CHANNELS if wide else STEP
        pieces, at = [], 0
        for part in parts:
            if part.tensor in self._scans:
                raise BackendUnavailableError(
                    "the cuda backend takes both scans into the first convolution only, and this "
                    "model has them elsewhere; --backend onnxruntime runs it"
                )
            for first in range(0, part.channels, width):
                some = range(at + first, at + min(first + width, part.channels))
                pitch = _padded(part.channels)
                pieces.append(Piece(part.tensor, pitch, first, part.doubled, some))
            at += part.channels
        return tuple(pieces), width

    def _launch(
        self,
        launch: Launch,
        scans: Mapping[str, int],
        shape: Shape,
        prediction: int,
        there: dict[str, Memory],
    ) -> None:
        layer = launch.layer
        d, h, w = (size >> layer.level for size in shape)
        pitch = _padded(len(layer.bias))
        results = np.zeros(1, RESULTS)
        if layer is self._last:
            results["planar"] = prediction
        elif layer.kept:
            results["whole"] = self._place(layer.result, 2 * pitch * d * h * w, there)
        if layer.pooled is not None:
            size = 2 * pitch * (d // 2) * (h // 2) * (w // 2)
            results["pooled"] = self._place(layer.pooled, size, there)
        results["pitch"], results["first"] = pitch, launch.first
        results["channels"], results["slope"] = launch.channels, layer.slope
        nbytes = 4 * d * h * w
        given: list[Argument] = [Memory(scans[name], nbytes) for name in self._scans]
        if launch.pieces:
            sources = np.zeros(MOST_SOURCES, SOURCE)
            for number, piece in enumerate(launch.pieces):
                address = there[piece.tensor].address
                sources[number] = (address, piece.pitch, piece.first, piece.doubled, 0)
            given = [sources, np.int32(len(launch.pieces))]
        grid = tuple(-(-size // side) for size, side in zip((w, h, d), BOX, strict=True))
        sizes = [np.int32(size) for size in (d, h, w)]
        self._device.launch(
            launch.kernel,
            (grid[0], grid[1], grid[2]),
            THREADS,
            [*given, launch.weights, launch.bias, results, *sizes],
        )

    def _place(self, tensor: str, nbytes: int, there: dict[str, Memory]) -> int:
        """Where a tensor is to lie: the smallest idle piece that it fits into, or a new one."""
        if tensor not in there:
            fitting = [memory for memory in self._idle if nbytes <= memory.nbytes <= 2 * nbytes]
            if fitting:
                memory = min(fitting, key=lambda piece: piece.nbytes)
                self._idle.remove(memory)
            else:
                memory = self._device.allocate(nbytes)
            there[tensor] = memory
        return there[tensor].address

    def _sent(self, array: NDArray[Any]) -> Memory:
        memory = self._device.allocate(array.nbytes)
        self._held.append(memory)
        self._device.upload(array, memory)
        return memory


def in_order_of_lanes(table: NDArray[np.float16]) -> NDArray[np.float16]:
    """Weights as the lanes of a warp take them; see ``multiply_add`` and ``load_weights``.

    Parameters
    ----------
    table
        ``(K, N)``, K a multiple of 16, N 8, 16 or 32.

    Returns
    -------
    ndarray
        ``(K / 16 + 1, pairs of tiles, 8, 4, 2 tiles, 2 halves, 2)``, one tile where N is 8. A lane
        is an index of 8 and one of 4; the last step is zeros, which are loaded and not used.
    """
    rows, columns = table.shape
    tiles = columns // 8
    together = min(tiles, 2)
    # k = 16 step + 8 half + 2 (lane % 4) + element; n = 8 (together pair + tile) + lane / 4
    split = table.reshape(rows // STEP, 2, 4, 2, tiles // together, together, 8)
    ordered = split.transpose(0, 4, 6, 2, 5, 1, 3)
    return np.concatenate([ordered, np.zeros_like(ordered[:1])])


def _rows_of_pieces(
    weights: NDArray[Any], pieces: Sequence[Piece], width: int, columns: int
) -> NDArray[np.float16]:
    """``(K, N)``: for each piece and each neighbour, its channels."""
    outputs = len(weights)
    table = np.zeros((len(pieces), 27, width, columns), np.float16)
    for number, piece in enumerate(pieces):
        own = weights[:, piece.channels.start : piece.channels.stop].reshape(outputs, -1, 27)
        table[number, :, : own.shape[1], :outputs] = own.transpose(2, 1, 0)
    return table.reshape(-1, columns)


def _rows_of_neighbours(weights: NDArray[Any], columns: int) -> NDArray[np.float16]:
    """``(64, N)``: for each neighbour both scans, and zeros up to whole steps."""
    outputs = len(weights)
    table = np.zeros((64, columns), np.float16)
    table[:54, :outputs] = weights.reshape(outputs, 2, 27).transpose(2, 1, 0).reshape(54, outputs)
    return table


def _made_by(launches: Sequence[Launch]) -> set[str | None]:
    """Tensors of which launches still write channels."""
    return {name for one in launches for name in (one.layer.result, one.layer.pooled)}


def _padded(channels: int) -> int:
    """Channels of a voxel in memory."""
    return -(-channels // STEP) * STEP
