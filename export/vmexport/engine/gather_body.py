"""``vxm::Warp3d`` as eight gathered corners, for parsers whose GridSample takes no volumes.

Standard operators of opset 20 on batches of one. The base grid is made of ranges: as a constant it
would be a plan's largest part (83 MB at 160x192x224). Places, corners and weights are float32
whatever the volume's type. As in `vmruntime.sampling`, a border of zeros around the volume and
places no further than one voxel outside make the zeros padding.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import onnx

__all__ = ["GATHERS", "gather_function"]

GATHERS = {"linear", "nearest"}

_HEAD = """
<domain: "vxm", opset_import: ["" : 20]>
{name} (volume, displacement) => (moved)
{{
    zero = Constant <value = int64 {{0}}> ()
    one = Constant <value = int64 {{1}}> ()
    one_int = Constant <value = int32 {{1}}> ()
    three_int = Constant <value = int32 {{3}}> ()
    outside = Constant <value = float {{-1.0}}> ()
    none = Constant <value = float {{0.0}}> ()
    step = Constant <value = float {{1.0}}> ()
    border = Constant <value = int64[10] {{0, 0, 1, 1, 1, 0, 0, 2, 2, 2}}> ()
    lines = Constant <value = int64[3] {{0, 0, -1}}> ()
    leading = Constant <value = int64[2] {{0, 1}}> ()
    along_d = Constant <value = int64[3] {{-1, 1, 1}}> ()
    along_h = Constant <value = int64[3] {{1, -1, 1}}> ()
    along_w = Constant <value = int64[3] {{1, 1, -1}}> ()

    samples = Cast <to = 1> (volume)
    bordered = Pad (samples, border, none)
    flat = Reshape (bordered, lines)
    field = Cast <to = 1> (displacement)
    part_d, part_h, part_w = Split <axis = 1, num_outputs = 3> (field)
"""

_AXIS = """
    u_{a} = Squeeze (part_{a}, leading)
    size_{a} = Shape <start = {i}, end = {end}> (displacement)
    count_{a} = Squeeze (size_{a})
    range_{a} = Range (zero, count_{a}, one)
    float_{a} = Cast <to = 1> (range_{a})
    index_{a} = Reshape (float_{a}, along_{a})
    voxels_{a} = Shape <start = {i}, end = {end}> (volume)
    extent_{a} = Cast <to = 6> (voxels_{a})
    stride_{a} = Add (extent_{a}, three_int)
    beyond_{a} = Cast <to = 1> (voxels_{a})
    last_{a} = Sub (beyond_{a}, step)
    located_{a} = Add (u_{a}, index_{a})
    unknown_{a} = IsNaN (located_{a})
    known_{a} = Where (unknown_{a}, outside, located_{a})
    above_{a} = Max (known_{a}, {low})
    place_{a} = Min (above_{a}, {high}_{a})
    lower_{a} = {rounded} (place_{a})
    corner_{a} = Cast <to = 6> (lower_{a})
    fraction_{a} = Sub (place_{a}, lower_{a})
"""

_FIRST = """
    plane = Mul (stride_h, stride_w)
    plane_row = Add (plane, stride_w)
    first = Add (plane_row, one_int)
    in_planes = Mul (corner_d, plane)
    in_rows = Mul (corner_h, stride_w)
    in_both = Add (in_planes, in_rows)
    in_all = Add (in_both, corner_w)
    voxel_000 = Add (in_all, first)
"""


def gather_function(name: str, mode: str, padding: str) -> onnx.FunctionProto:
    """The warp of one mode and padding as a function without attributes.

    Parameters
    ----------
    name
        Of the function, in domain ``vxm``.
    mode
        ``linear`` or ``nearest``.
    padding
        ``zeros`` or ``border``.
    """
    low, high = ("outside", "beyond") if padding == "zeros" else ("none", "last")
    # Round takes halves to the even voxel.
    rounded = "Floor" if mode == "linear" else "Round"
    lines = [_HEAD.format(name=name)]
    for i, a in enumerate("dhw"):
        lines.append(_AXIS.format(a=a, i=2 + i, end=3 + i, low=low, high=high, rounded=rounded))
    lines.append(_FIRST)
    if mode == "linear":
        lines.extend(_linear())
    else:
        lines.append("    sampled = Gather <axis = 2> (flat, voxel_000)\n")
    lines.append("    moved = CastLike (sampled, volume)\n}\n")
    return onnx.parser.parse_function("".join(lines))


def _linear() -> Iterator[str]:
    """Eight corners, blended along w, then h, then d."""
    offsets = {"001": "one_int", "010": "stride_w", "100": "plane"}
    yield "    step_011 = Add (stride_w, one_int)\n"
    yield "    step_101 = Add (plane, one_int)\n"
    yield "    step_111 = Add (plane_row, one_int)\n"
    offsets |= {"110": "plane_row", "011": "step_011", "101": "step_101", "111": "step_111"}
    for corner, offset in offsets.items():
        yield f"    voxel_{corner} = Add (voxel_000, {offset})\n"
    for bits in product("01", repeat=3):
        corner = "".join(bits)
        yield f"    value_{corner} = Gather <axis = 2> (flat, voxel_{corner})\n"
    for axis, left in (("w", 2), ("h", 1), ("d", 0)):
        for bits in product("01", repeat=left):
            corner = "".join(bits)
            near, far = f"value_{corner}0", f"value_{corner}1"
            result = f"value_{corner}" if left else "sampled"
            yield f"    apart_{axis}{corner} = Sub ({far}, {near})\n"
            yield f"    shift_{axis}{corner} = Mul (apart_{axis}{corner}, fraction_{axis})\n"
            yield f"    {result} = Add ({near}, shift_{axis}{corner})\n"
