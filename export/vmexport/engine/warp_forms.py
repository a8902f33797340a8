"""What an engine's parser is given in place of ``vxm::Warp3d`` and its function body.

- ``native``: the function body inlined; its GridSample becomes the engine's own layer where that
  takes volumes (TensorRT 11.2.1, TensorRT-RTX 1.6 and newer).
- ``gather``: eight gathered corners, see `vmexport.engine.gather_body`; any version.
- ``plugin``: the node alone, marked so that the parser takes our plugin.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Literal

import onnx
from onnx import helper, inliner

from vmexport.engine.gather_body import GATHERS, gather_function
from vmexport.errors import ExportError

__all__ = ["WARP_FORMS", "WarpForm", "with_warp_form"]

WarpForm = Literal["native", "gather", "plugin"]

WARP_FORMS: tuple[WarpForm, ...] = ("native", "gather", "plugin")

# What vmexport.graph.warp3d says too, but for a module that needs PyTorch.
DOMAIN, OPERATOR = "vxm", "Warp3d"
PLUGIN_VERSION = "1"

PADDINGS = {"zeros", "border"}


def with_warp_form(model: onnx.ModelProto, form: WarpForm) -> onnx.ModelProto:
    """A model with its warps in the form that an engine is to take.

    Parameters
    ----------
    model
        An artifact's: ``vxm::Warp3d`` nodes, and their function body among the functions. It is
        not changed.
    form
        One of `WARP_FORMS`.

    Returns
    -------
    onnx.ModelProto
        A copy. With ``native`` and ``gather`` it is made of standard operators only; with
        ``plugin`` no runtime but one that has the plugin runs it.

    Raises
    ------
    ExportError
        The form is not known, or the model has no warps of ours that it could be given to.
    """
    if form not in WARP_FORMS:
        raise ExportError(f"no warp form {form!r}; choose one of {', '.join(WARP_FORMS)}")
    changed = copy.deepcopy(model)
    warps = list(_warps(changed.graph))
    if not warps:
        raise ExportError(
            f"the model has no {DOMAIN}::{OPERATOR} node; an engine is built from what vm-export "
            "makes"
        )
    if form == "plugin":
        _mark_for_plugin(warps)
        _without_function(changed)
        return changed
    if form == "gather":
        _without_function(changed)
        _call_gathers(changed, warps)
    elif not any((f.domain, f.name) == (DOMAIN, OPERATOR) for f in changed.functions):
        raise ExportError(
            f"the model has no function body for {DOMAIN}::{OPERATOR}; export it again with "
            "vm-export"
        )
    inlined = inliner.inline_local_functions(changed)
    left = {node.domain for node in inlined.graph.node} - {"", "ai.onnx"}
    if left:
        raise ExportError(
            f"the model has nodes of the domain {', '.join(sorted(left))} beside its warps, which "
            "no engine takes"
        )
    opsets = [opset for opset in inlined.opset_import if opset.domain in ("", "ai.onnx")]
    del inlined.opset_import[:]
    inlined.opset_import.extend(opsets)
    return inlined


def _warps(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        if (node.domain, node.op_type) == (DOMAIN, OPERATOR):
            yield node


def _without_function(model: onnx.ModelProto) -> None:
    kept = [f for f in model.functions if (f.domain, f.name) != (DOMAIN, OPERATOR)]
    del model.functions[:]
    model.functions.extend(kept)


def _mark_for_plugin(warps: list[onnx.NodeProto]) -> None:
    """The attributes by which TensorRT's parser prefers a plugin; see its `onnx-tensorrt` docs."""
    for node in warps:
        settings = _settings(node)
        del node.attribute[:]
        settings |= {"plugin_namespace": DOMAIN, "plugin_version": PLUGIN_VERSION}
        # The plugin reads both from the node, so the defaults are written down.
        node.attribute.extend(helper.make_attribute(*item) for item in sorted(settings.items()))


def _call_gathers(model: onnx.ModelProto, warps: list[onnx.NodeProto]) -> None:
    """Turn every warp into a call of the function for its mode and padding."""
    for node in warps:
        settings = _settings(node)
        mode, padding = settings["mode"], settings["padding"]
        if mode not in GATHERS or padding not in PADDINGS:
            raise ExportError(
                f"the warp {node.name!r} has mode {mode!r} and padding {padding!r}; the gather "
                "form knows linear and nearest, zeros and border"
            )
        node.op_type = f"{OPERATOR}_{mode}_{padding}"
        del node.attribute[:]
        if not any(function.name == node.op_type for function in model.functions):
            model.functions.append(gather_function(node.op_type, mode, padding))


def _settings(node: onnx.NodeProto) -> dict[str, str]:
    """Mode and padding of a warp, with the defaults of its function."""
    settings = {"mode": "linear", "padding": "zeros"}
    for attribute in node.attribute:
        if attribute.name in settings:
            settings[attribute.name] = attribute.s.decode()
    return settings
