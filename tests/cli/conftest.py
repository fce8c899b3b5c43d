"""Fixtures: the command line on a pretended model, and pictures to feed it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import a1400
from a1400.cli.app import app

from .fakes import FakeModel


@pytest.fixture
def cli() -> Callable[..., Any]:
    """Run ``a1400`` with arguments in this process; the result has exit_code, stdout and stderr."""
    return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    """The model that every ``a1400.load`` of the test returns; ``fake.loaded`` holds how it was asked for."""
    model = FakeModel()

    def load(path: str, backend: str | None = None, device: str | None = None, **options: Any) -> FakeModel:
        model.loaded = {"path": path, "backend": backend, "device": device, **options}  # type: ignore[attr-defined]
        return model

    monkeypatch.setattr(a1400, "load", load, raising=False)
    return model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A path to give as MODEL."""
    path = tmp_path / "some.onnx"
    path.write_bytes(b"")
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Three even grey pictures whose mean says 1, 5 and 9."""
    paths = []
    for digit in (1, 5, 9):
        path = tmp_path / f"p{digit}.png"
        Image.fromarray(np.full((16, 16), round(digit * 25.5), np.uint8)).save(path)
        paths.append(path)
    return paths
