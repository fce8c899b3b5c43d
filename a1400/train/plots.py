"""Pictures of a training run, as PNG files: the curves of loss and metrics, and a confusion matrix.

Needs matplotlib, and scikit-learn for the confusion matrix (``pip install "a1400[plots]"``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np

from a1400.errors import A1400Error


def _axes(columns: int, width: float, height: float) -> tuple[Any, list[Any]]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise A1400Error(f'pictures need {error.name}: pip install "a1400[plots]"') from None
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)  # no window, whatever the machine
    return figure, list(np.ravel(figure.subplots(1, columns)))


def save_curves(history: Mapping[str, Sequence[float]], path: str | PathLike[str]) -> None:
    """Draw ``history`` (name -> a value per epoch; ``val_`` names beside what they validate) into the PNG ``path``."""
    names = [name for name in history if not name.startswith("val_") and name != "learning_rate"]
    if not names:
        raise A1400Error("there are no curves to draw: the history is empty")
    figure, axes = _axes(len(names), 4.5 * len(names), 3.5)
    for place, name in zip(axes, names):
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            values = history.get(key)
            if values:
                place.plot(range(1, len(values) + 1), values, marker=".", label=label)
        place.set(title=name, xlabel="epoch")
        place.xaxis.get_major_locator().set_params(integer=True)
        place.grid(alpha=0.3)
        place.legend()
    figure.savefig(path, format="png", dpi=120)


def save_confusion(
    targets: np.ndarray, guesses: np.ndarray, classes: Sequence[str], path: str | PathLike[str]
) -> np.ndarray:
    """Draw how often each class (int [N] ``targets``) was taken for which (``guesses``) into the PNG ``path``.

    Returns the counts, int64 [classes, classes]; rows are what was true.
    """
    try:
        from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix
    except ImportError as error:
        raise A1400Error(f'a confusion matrix needs {error.name}: pip install "a1400[plots]"') from None
    counts = confusion_matrix(targets, guesses, labels=range(len(classes)))
    size = max(4.0, 0.55 * len(classes) + 1.5)
    figure, (place,) = _axes(1, size + 1, size)
    ConfusionMatrixDisplay(counts, display_labels=list(classes)).plot(
        ax=place, cmap="Blues", xticks_rotation="vertical" if max(map(len, classes)) > 2 else "horizontal"
    )
    figure.savefig(path, format="png", dpi=120)
    return np.asarray(counts)
