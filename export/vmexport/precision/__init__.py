"""Number formats of a U-Net's layers: which there are, plans of them, and making the files.

`layers` names the layers, `plan` says which of them is computed in what, `apply` makes the ONNX
that does so (``vmexport.engine.half_precision`` for float16, `quantize` for INT8), and `rounding`
makes a float32 model that gives what an engine in the lower precision would.
"""

from vmexport.precision.apply import apply_plan, convert_with_plan, plan_limits
from vmexport.precision.layers import Layer, find_layers, is_quantized
from vmexport.precision.plan import PrecisionPlan
from vmexport.precision.quantize import can_quantize, to_int8
from vmexport.precision.rounding import as_rounded, faithful

__all__ = [
    "Layer",
    "PrecisionPlan",
    "apply_plan",
    "as_rounded",
    "can_quantize",
    "convert_with_plan",
    "faithful",
    "find_layers",
    "is_quantized",
    "plan_limits",
    "to_int8",
]
