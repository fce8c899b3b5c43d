"""Curves and confusion matrices become PNG files; the counts are right."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from a1400.errors import A1400Error
from a1400.train.plots import save_confusion, save_curves


def ink(path) -> int:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return int((np.asarray(picture.convert("L")) < 128).sum())


def test_curves_show_what_the_history_holds(tmp_path):
    save_curves({"loss": [1.0, 0.5], "val_loss": [1.1, 0.7]}, tmp_path / "one.png")
    save_curves({"loss": [1.0, 0.5], "accuracy": [0.5, 0.9], "learning_rate": [1, 1]}, tmp_path / "two.png")
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "two.png") as two:
        assert two.width > 1.8 * one.width
    assert ink(tmp_path / "one.png") > 500
    with pytest.raises(A1400Error, match="the history is empty"):
        save_curves({}, tmp_path / "none.png")


def test_a_confusion_matrix_counts_what_was_taken_for_what(tmp_path):
    counts = save_confusion(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1]), ["a", "b", "c", "d"], tmp_path / "c.png")
    assert counts.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert ink(tmp_path / "c.png") > 500
