"""What runs a model. `contract` is what the rest of the server knows; `onnx` is the one module with ONNX Runtime."""
