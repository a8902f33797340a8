"""Passes that make an exported graph smaller and readable."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

__all__ = ["name_free_axes", "remove_traces"]


def remove_traces(model: onnx.ModelProto) -> None:
    """Drop the stack traces and scopes of the exporting machine, and intermediate shapes.

    They are half of a small file, name directories of the person who exported, and every engine
    infers the shapes again.
    """
    graph = model.graph
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
    del graph.value_info[:]
    del graph.metadata_props[:]
    del model.metadata_props[:]
    graph.doc_string = model.doc_string = ""


def name_free_axes(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Give the free axes of every input and output the same names.

    The exporter calls them by expressions such as ``16*(D//16)``, which say that they may differ.
    """
    for tensor in (*model.graph.input, *model.graph.output):
        axes = tensor.type.tensor_type.shape.dim[2:]
        for axis, name in zip(axes, names, strict=True):
            axis.dim_param = name
