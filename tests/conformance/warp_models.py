"""ONNX models of the operations that are made of warps, for the forms of ``vxm::Warp3d``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper

from conformance.rows import ComposeRow, IntegrateRow, WarpRow
from vmexport.graph.warp3d import DOMAIN, OPSET, VERSION, warp3d_function

__all__ = ["Form", "run_compose", "run_integrate", "run_warp"]

Array = NDArray[Any]

Form = Callable[[onnx.ModelProto], onnx.ModelProto]
"""What is done to a model with Warp3d nodes before it is run."""


def node(operator: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    """A node; a Warp3d in its own domain."""
    domain = DOMAIN if operator == "Warp3d" else ""
    return helper.make_node(operator, inputs.split(), [output], domain=domain, **attributes)


def run(
    form: Form, nodes: list[onnx.NodeProto], feeds: dict[str, Array], *, free: bool = False
) -> Array:
    """The tensor ``out`` of a graph; with `free`, all but the channels is left free."""
    inputs = []
    for name, value in feeds.items():
        shape: list[int | str] = list(value.shape)
        if free:
            shape[2:] = [f"{name}_{axis}" for axis in "dhw"]
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        inputs.append(helper.make_tensor_value_info(name, kind, shape))
    first = next(iter(feeds.values()))
    kind = helper.np_dtype_to_tensor_dtype(first.dtype)
    output = helper.make_tensor_value_info("out", kind, [None] * 5)
    model = helper.make_model(
        helper.make_graph(nodes, "rows", inputs, [output]),
        functions=[warp3d_function()],
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, VERSION)],
        ir_version=10,
    )
    model = form(model)
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found: Array = session.run(["out"], feeds)[0]
    return found


def run_warp(form: Form, row: WarpRow, *, free: bool = False) -> Array:
    """One warp."""
    feeds = {"volume": row.volume[None], "displacement": row.displacement[None]}
    nodes = [node("Warp3d", "volume displacement", "out", mode=row.mode)]
    return run(form, nodes, feeds, free=free)[0]


def run_integrate(form: Form, row: IntegrateRow, *, free: bool = False) -> Array:
    """Scaling and squaring, as an exported tail has it."""
    scale = helper.make_tensor("scale", onnx.TensorProto.FLOAT, [], [0.5**row.steps])
    nodes = [node("Constant", "", "scale", value=scale), node("Mul", "velocity scale", "field_0")]
    for step in range(row.steps):
        nodes.append(node("Warp3d", f"field_{step} field_{step}", f"moved_{step}"))
        nodes.append(node("Add", f"field_{step} moved_{step}", f"field_{step + 1}"))
    nodes.append(node("Identity", f"field_{row.steps}", "out"))
    return run(form, nodes, {"velocity": row.velocity[None]}, free=free)[0]


def run_compose(form: Form, row: ComposeRow, *, free: bool = False) -> Array:
    """``second + warp(first, second)``."""
    nodes = [node("Warp3d", "first second", "moved"), node("Add", "second moved", "out")]
    feeds = {"first": row.first[None], "second": row.second[None].astype(np.float32)}
    return run(form, nodes, feeds, free=free)[0]
