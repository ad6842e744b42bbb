"""From a trained torch model to a gated, published ONNX file."""
