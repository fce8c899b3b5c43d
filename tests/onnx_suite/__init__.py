"""ONNX's own test-suite (``onnx.backend.test``) over :mod:`a1400.onnx_backend`, and what it says."""
