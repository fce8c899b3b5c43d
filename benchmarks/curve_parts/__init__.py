"""Parts of ``benchmarks/curves.py``: an engine's process, and the comparison."""
