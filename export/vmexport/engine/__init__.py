"""From an artifact to an engine: the ONNX that a builder takes, and building it."""
