"""The ONNX front-end: :func:`load_onnx` reads and checks a model, :meth:`OnnxModel.graph` traces it for shapes."""

from a1400.frontends.errors import NeedsValue
from a1400.frontends.onnx.model import OnnxModel, load_onnx

__all__ = ["NeedsValue", "OnnxModel", "load_onnx"]
