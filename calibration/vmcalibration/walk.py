"""Running a U-Net one operator at a time, so that every tensor can be looked at in little memory.

A tensor is there from the operator that makes it to the last one that reads it, as in any engine.
To ask onnxruntime for all of them as outputs would keep them all: ten gigabytes for a scan of 1 mm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from vmcalibration.errors import CalibrationError
from vmexport.engine.half_precision import element_types, split_unet
from vmruntime.errors import one_line

__all__ = ["Observer", "walk"]

Observer = Callable[[onnx.NodeProto, NDArray[Any]], None]
"""Called with each operator and what it gave."""

ERRORS_ONLY = 3


def walk(
    model: onnx.ModelProto,
    feeds: Mapping[str, NDArray[np.float32]],
    observe: Observer,
    threads: int | None = None,
) -> None:
    """Run the U-Net of a float32 artifact, and show each tensor as it comes.

    Parameters
    ----------
    model
        The artifact's.
    feeds
        An array for each input of the model.
    observe
        Called with every operator and its result; it must not keep the array.
    threads
        Threads of onnxruntime; None for all cores.

    Raises
    ------
    ExportError
        The U-Net cannot be told from the tail.
    CalibrationError
        onnxruntime fails, or a tensor is not finite.
    """
    graph = model.graph
    nodes = _needed(graph)
    types = element_types(model)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    readers = Counter(name for node in nodes for name in node.input)
    live: dict[str, NDArray[Any]] = dict(feeds)
    for node in nodes:
        result = _run(node, live, constants, types, model, threads)
        for name in set(node.input) & live.keys():
            readers[name] -= list(node.input).count(name)
            if readers[name] <= 0:
                del live[name]
        if result.dtype == np.float32:
            if not (np.isfinite(result.min(initial=0)) and np.isfinite(result.max(initial=0))):
                raise CalibrationError(
                    f"the model's {node.output[0]} is not finite in float32 already; check the "
                    "scans' intensities and the model with vm-inspect --verify"
                )
            observe(node, result)
        live[node.output[0]] = result


def _needed(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The operators up to the head, in order."""
    head, _ = split_unet(graph)
    wanted = {graph.node[head].output[0]}
    found = []
    for node in reversed(graph.node[: head + 1]):
        if wanted.intersection(node.output):
            found.append(node)
            wanted.update(node.input)
    return found[::-1]


def _run(
    node: onnx.NodeProto,
    live: Mapping[str, NDArray[Any]],
    constants: Mapping[str, onnx.TensorProto],
    types: Mapping[str, int],
    model: onnx.ModelProto,
    threads: int | None,
) -> NDArray[Any]:
    import onnxruntime

    names = [name for name in dict.fromkeys(node.input) if name]
    given = [name for name in names if name in live]
    missing = [name for name in names if name not in live and name not in constants]
    if missing:
        raise CalibrationError(
            f"the model's {node.output[0]} needs {missing[0]}, which is not there"
        )
    graph = helper.make_graph(
        [node],
        "one",
        [_info(name, live[name]) for name in given],
        [helper.make_tensor_value_info(node.output[0], types.get(node.output[0], 1), None)],
        [constants[name] for name in names if name in constants],
    )
    alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.enable_cpu_mem_arena = False
    if threads:
        options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(
            alone.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        result: NDArray[Any] = session.run([node.output[0]], {name: live[name] for name in given})[
            0
        ]
    # onnxruntime's exceptions share no base of their own.
    except Exception as error:
        raise CalibrationError(
            f"onnxruntime failed on {node.output[0]} ({node.op_type}): {one_line(error)}"
        ) from error
    return result


def _info(name: str, array: NDArray[Any]) -> onnx.ValueInfoProto:
    kind = numpy_helper.from_array(np.zeros(1, array.dtype)).data_type
    return helper.make_tensor_value_info(name, kind, list(array.shape))
