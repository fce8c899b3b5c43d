"""Class labels and the best classes of a row of scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from a1400.errors import InputError


@dataclass(frozen=True)
class Guess:
    """One of the best classes: its index, label (None without a label file), score as the model gave it, and share.

    ``share`` is a probability: the score itself where the scores of a row are probabilities, else its softmax.
    """

    index: int
    label: str | None
    score: float
    share: float


def read_labels(path: Path) -> list[str]:
    """One label a line; raises :class:`InputError` when the file cannot be read or is empty."""
    if path.exists() and not path.is_file():
        raise InputError(f"cannot read the labels in {path}: it is not a file")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the labels in {path}: {error}") from None
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise InputError(f"the label file {path} is empty")
    return [line.strip() for line in lines]


def find_labels(named: Path | None, model: Path) -> list[str] | None:
    """The labels of the file ``named``, or of ``labels.txt`` beside the model if there is one."""
    if named is not None:
        return read_labels(named)
    beside = model.parent / "labels.txt"
    return read_labels(beside) if beside.is_file() else None


def scores_of(outputs: Mapping[str, np.ndarray], labels: Sequence[str] | None) -> str | None:
    """The output that holds class scores: the first with as many columns as there are labels; None if none has.

    Without labels, the first output of shape [rows, classes] counts.
    """
    for name, array in outputs.items():
        if array.dtype.kind in "bOUS" or array.ndim == 0:
            continue
        columns = array.size // array.shape[0] if array.ndim > 1 and array.shape[0] else array.size
        if columns == len(labels) if labels else array.ndim == 2 and columns > 1:
            return name
    return None


def best(row: np.ndarray, labels: Sequence[str] | None, count: int) -> list[Guess]:
    """The ``count`` classes of the highest scores in ``row`` (flattened), best first; NaN counts as lowest."""
    scores = np.asarray(row, np.float64).reshape(-1)
    ranked = np.where(np.isnan(scores), -np.inf, scores)
    order = np.argsort(-ranked, kind="stable")[:count]
    shares = _shares(scores)
    return [Guess(int(i), labels[i] if labels else None, float(scores[i]), float(shares[i])) for i in order]


def _shares(scores: np.ndarray) -> np.ndarray:
    if not np.isfinite(scores).all():
        return np.full(scores.shape, np.nan)
    if (scores >= 0).all() and abs(scores.sum() - 1) < 1e-2:
        return scores
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()
