"""Parts of ``benchmarks/train.py``: what is trained, and how each engine trains it."""
