"""Keras runs on PyTorch in these tests: the backend must be chosen before anything imports Keras."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")
