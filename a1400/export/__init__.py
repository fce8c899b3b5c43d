"""Networks and graphs written as files that other programs read."""

from a1400.export.onnx_file import export_onnx
from a1400.export.onnx_writer import ExportError

__all__ = ["ExportError", "export_onnx"]
