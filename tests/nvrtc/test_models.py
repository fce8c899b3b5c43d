"""Every program that a model of the test-suite needs compiles for every architecture."""

from __future__ import annotations

import pytest

from tests.models.export import NAMES
from tests.nvrtc.cases import text
from tests.nvrtc.compiler import ARCHITECTURES, compile_all, known
from tests.nvrtc.models import PRECISIONS, model_calls


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NAMES)
def test_model(name: str, precision: str) -> None:
    """Without a warning, ptxas's own included."""
    jobs = [(text(made), a) for a in filter(known, ARCHITECTURES) for made in model_calls(name, a, precision)]
    found = [f"{a}: {w}" for (_, a), done in zip(jobs, compile_all(jobs), strict=True) for w in done.warnings]
    assert jobs and not found, "\n".join(found)
