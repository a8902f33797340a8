"""Trying number formats on one pair, quickly: the U-Net on a corner of the scans.

The U-Net is fully convolutional, so that it does on a piece what it does on the whole but for a
border. The piece is a corner that reaches a little beyond the middle: it has the border, the
background and the brain in about the shares that the whole has, which the middle has not. The tail
is this package's own, in float32, as in every engine. A model whose tail is none of VoxelMorph's is
run whole, on the whole pair.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from vmcalibration.errors import CalibrationError
from vmexport.precision import PrecisionPlan, apply_plan, as_rounded
from vmexport.verification import Pair
from vmruntime.errors import BackendUnavailableError, one_line
from vmruntime.manifest import Manifest
from vmruntime.quality import Agreement, agreement
from vmruntime.unet.graph import read_graph
from vmruntime.unet.run_tail import displacement_of
from vmruntime.unet.tail import Tail, find_tail

__all__ = ["Trial"]

MOST_VOXELS = 1_400_000
"""Of the piece: a second of work for the official model."""

ERRORS_ONLY = 3


class Trial:
    """One pair that a float32 model and variants of it are run on.

    Parameters
    ----------
    model
        The artifact's, in float32.
    manifest
        Its contract.
    pair
        The scans.
    threads
        Threads of onnxruntime; None for all cores.
    whole
        Run the whole pair, which takes some ten times as long.

    Raises
    ------
    CalibrationError
        onnxruntime fails.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        manifest: Manifest,
        pair: Pair,
        threads: int | None = None,
        *,
        whole: bool = False,
    ) -> None:
        self._model = model
        self._manifest = manifest
        self._threads = threads
        self._tail = _tail(model)
        self.name = pair.name
        self.voxel_size = manifest.voxel_size
        part: tuple[slice, ...] = ()
        if self._tail and not whole:
            part = _corner(pair.moving.shape[1:], manifest.stride)
        self._known: dict[tuple[str, ...], Agreement] = {}
        cut = (slice(None), *part)
        self.shape: tuple[int, ...] = pair.moving[cut].shape[1:]
        self._feeds = {
            name: np.ascontiguousarray(scan[cut])[np.newaxis]
            for name, scan in (("moving", pair.moving), ("fixed", pair.fixed))
        }
        self.reference = self._displacement(model)

    def error(self, plan: PrecisionPlan) -> Agreement:
        """How far a plan's displacement is from float32's; NaN where a value overflows.

        float16 is computed as an engine would that keeps its tensors in it, see `as_rounded`.
        """
        key = (plan.lower, *plan.kept)
        if key not in self._known:
            found = self._displacement(as_rounded(apply_plan(self._model, plan)))
            self._known[key] = agreement(self.reference, found, self._manifest.voxel_size)
        return self._known[key]

    def _displacement(self, model: onnx.ModelProto) -> NDArray[np.float32]:
        """``(3, D, H, W)`` voxels, on the piece."""
        if self._tail is None:
            return self._run(model, "displacement")
        prediction = self._run(
            _cut(model, self._tail.prediction, self.shape), self._tail.prediction
        )
        return displacement_of(prediction, self._tail, self._threads or 1)

    def _run(self, model: onnx.ModelProto, output: str) -> NDArray[np.float32]:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        options.enable_cpu_mem_arena = False
        # Quantization in float32: the same values, and onnxruntime's INT8 convolutions are slow.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        if self._threads:
            options.intra_op_num_threads = self._threads
        try:
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            found: NDArray[np.float32] = session.run([output], self._feeds)[0][0]
        # onnxruntime's exceptions share no base of their own.
        except Exception as error:
            raise CalibrationError(
                f"onnxruntime failed on a variant of the model: {one_line(error)}"
            ) from error
        return found


def _tail(model: onnx.ModelProto) -> Tail | None:
    try:
        return find_tail(read_graph(model.SerializeToString()))
    except BackendUnavailableError:
        return None


def _corner(shape: tuple[int, ...], stride: int) -> tuple[slice, ...]:
    """A corner of at most `MOST_VOXELS`, in multiples of the network's stride."""
    share = min(1.0, (MOST_VOXELS / float(np.prod(shape))) ** (1 / 3))
    return tuple(slice(0, max(int(size * share) // stride, 1) * stride) for size in shape)


def _cut(model: onnx.ModelProto, prediction: str, shape: tuple[int, ...]) -> onnx.ModelProto:
    """The U-Net alone, for a grid of this shape."""
    wanted, nodes = {prediction}, []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            nodes.append(node)
            wanted.update(node.input)
    inputs = [
        helper.make_tensor_value_info(
            given.name, given.type.tensor_type.elem_type, _size(given, shape)
        )
        for given in model.graph.input
    ]
    output = helper.make_tensor_value_info(prediction, onnx.TensorProto.FLOAT, None)
    constants = [tensor for tensor in model.graph.initializer if tensor.name in wanted]
    graph = helper.make_graph(nodes[::-1], "unet", inputs, [output], constants)
    return helper.make_model(graph, opset_imports=_opsets(model), ir_version=model.ir_version)


def _size(given: onnx.ValueInfoProto, shape: tuple[int, ...]) -> list[Any]:
    channels = given.type.tensor_type.shape.dim[1].dim_value or 1
    return [1, channels, *shape]


def _opsets(model: onnx.ModelProto) -> list[onnx.OperatorSetIdProto]:
    """The U-Net has operators of ONNX's own domain only."""
    return [opset for opset in model.opset_import if opset.domain == ""]
