"""``vxm::Warp3d`` in ONNX: what PyTorch's operator is exported as, and its function body.

``moved(x) = volume(x + u(x))`` with the displacement ``u`` in voxels of the volume's grid; the
identity is added and the coordinates are computed in float32 whatever the types.

The function body is made of standard operators, so that any ONNX runtime runs an artifact as it
is; an engine that has a kernel of its own for ``vxm::Warp3d`` uses that instead.
"""

from __future__ import annotations

from typing import Any

import onnx
import torch
from onnxscript import values

from vmexport.networks import warp  # registers torch.ops.vxm.warp3d  # noqa: F401

__all__ = ["DOMAIN", "OPSET", "VERSION", "translations", "warp3d_function"]

DOMAIN, VERSION = "vxm", 1
OPSET = 20
"""First ONNX opset whose GridSample takes volumes."""

_FUNCTION = """
<domain: "vxm", opset_import: ["" : 20]>
Warp3d <mode: string = "linear", padding: string = "zeros"> (volume, displacement) => (moved)
{
    zero = Constant <value = int64 {0}> ()
    one = Constant <value = int64 {1}> ()
    half = Constant <value = float {0.5}> ()
    two = Constant <value = float {2.0}> ()
    before = Constant <value = float {-3.0}> ()
    beyond = Constant <value = float {3.0}> ()
    one_size = Constant <value = int64[1] {1}> ()
    along_d = Constant <value = int64[4] {1, -1, 1, 1}> ()
    along_h = Constant <value = int64[4] {1, 1, -1, 1}> ()
    along_w = Constant <value = int64[4] {1, 1, 1, -1}> ()

    field = Cast <to = 1> (displacement)
    u_d, u_h, u_w = Split <axis = 1, num_outputs = 3> (field)

    size_d = Shape <start = 2, end = 3> (displacement)
    size_h = Shape <start = 3, end = 4> (displacement)
    size_w = Shape <start = 4, end = 5> (displacement)
    count_d = Squeeze (size_d)
    count_h = Squeeze (size_h)
    count_w = Squeeze (size_w)
    range_d = Range (zero, count_d, one)
    range_h = Range (zero, count_h, one)
    range_w = Range (zero, count_w, one)
    float_d = Cast <to = 1> (range_d)
    float_h = Cast <to = 1> (range_h)
    float_w = Cast <to = 1> (range_w)
    index_d = Reshape (float_d, along_d)
    index_h = Reshape (float_h, along_h)
    index_w = Reshape (float_w, along_w)

    voxels_d = Shape <start = 2, end = 3> (volume)
    voxels_h = Shape <start = 3, end = 4> (volume)
    voxels_w = Shape <start = 4, end = 5> (volume)
    steps_d = Sub (voxels_d, one_size)
    steps_h = Sub (voxels_h, one_size)
    steps_w = Sub (voxels_w, one_size)
    extent_d = Max (steps_d, one_size)
    extent_h = Max (steps_h, one_size)
    extent_w = Max (steps_w, one_size)
    last_d = Cast <to = 1> (extent_d)
    last_h = Cast <to = 1> (extent_h)
    last_w = Cast <to = 1> (extent_w)

    located_d = Add (u_d, index_d)
    located_h = Add (u_h, index_h)
    located_w = Add (u_w, index_w)
    share_d = Div (located_d, last_d)
    share_h = Div (located_h, last_h)
    share_w = Div (located_w, last_w)
    centred_d = Sub (share_d, half)
    centred_h = Sub (share_h, half)
    centred_w = Sub (share_w, half)
    centred = Concat <axis = 1> (centred_w, centred_h, centred_d)
    grid_first = Mul (centred, two)

    unknown = IsNaN (grid_first)
    known = Where (unknown, before, grid_first)
    near = Clip (known, before, beyond)
    grid = Transpose <perm = [0, 2, 3, 4, 1]> (near)

    samples = Cast <to = 1> (volume)
    sampled = GridSample <align_corners = 1, mode: string = @mode,
                          padding_mode: string = @padding> (samples, grid)
    moved = CastLike (sampled, volume)
}
"""
# GridSample with align_corners: voxel 0 is -1, the last voxel is 1. NaN, infinite and huge
# coordinates, which ONNX leaves open, are put where nothing is: 3 and -3 lie a voxel or more
# outside on any axis of two voxels or more. On an axis of one voxel GridSample sees that voxel
# everywhere.


def warp3d_function() -> onnx.FunctionProto:
    """``vxm::Warp3d`` in standard operators of opset 20, to be put into a model's functions."""
    return onnx.parser.parse_function(_FUNCTION)


def translations() -> dict[Any, Any]:
    """Entry for the exporter's ``custom_translation_table``: the warp becomes the operator."""
    schema_type = onnx.defs.OpSchema
    floats = ["tensor(float)", "tensor(float16)"]
    text = schema_type.AttrType.STRING
    schema = schema_type(
        "Warp3d",
        DOMAIN,
        VERSION,
        inputs=[
            schema_type.FormalParameter("volume", "T"),
            schema_type.FormalParameter("displacement", "U"),
        ],
        outputs=[schema_type.FormalParameter("moved", "T")],
        type_constraints=[("T", floats, "volume"), ("U", floats, "displacement")],
        attributes=[schema_type.Attribute(name, text) for name in ("mode", "padding")],
    )
    operator = values.Op(values.Opset(DOMAIN, VERSION), "Warp3d", schema)

    def translate(
        volume: Any, displacement: Any, mode: str = "linear", padding: str = "zeros"
    ) -> Any:
        return operator(volume, displacement, mode=mode, padding=padding)

    return {torch.ops.vxm.warp3d.default: translate}
