"""The parts of ``benchmarks/cpu.py``: engines in processes of their own that take turns."""
