"""Architectures that the tests export to ONNX with random weights."""
