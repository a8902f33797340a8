"""From a PyTorch network to the ONNX graph of an artifact."""
