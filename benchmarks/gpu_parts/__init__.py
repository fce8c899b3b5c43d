"""Parts of ``benchmarks/gpu.py``: each yields rows, is run in a process of its own, and loses nothing but itself."""
