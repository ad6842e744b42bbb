"""What runs a model. `contract` is what the rest of the server knows; everything that knows ONNX Runtime is here."""
