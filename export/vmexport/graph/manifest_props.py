"""The manifest inside an ONNX model."""

from __future__ import annotations

import onnx

from vmruntime.manifest import MANIFEST_KEY, Manifest

__all__ = ["with_manifest"]


def with_manifest(model: onnx.ModelProto, manifest: Manifest) -> bytes:
    """Serialize a model with its manifest among the ``metadata_props``."""
    onnx.helper.set_model_props(model, {MANIFEST_KEY: manifest.to_json()})
    return bytes(model.SerializeToString(deterministic=True))
