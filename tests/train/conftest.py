"""What the trainer's tests share."""

from __future__ import annotations

import pytest

from tests.train import standin


@pytest.fixture
def on_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainers run on NumPy references: what is tested is what they do besides."""
    standin.use(monkeypatch)
