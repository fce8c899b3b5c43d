"""Generated cases for every compute operator of ONNX, held against ONNX Runtime: larger than ONNX's own suite has.

``python -m tests.onnx_sweep`` runs them all, ``python -m tests.onnx_sweep Conv --case 17`` one; docs/sweep.md says
what came of it.
"""
