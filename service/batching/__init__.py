"""Batches across callers. `batcher` is the entrance; nothing here knows gRPC or ONNX Runtime."""
