"""Every program that a model of the test-suite needs compiles, whatever the architecture that it is chosen for.

A text compiles for the first architecture that a model needs it on; ``A1400_TEST_CASES=all``: for each.
"""

from __future__ import annotations

import pytest

from tests.kernels.coverage import takes_all
from tests.models.export import NAMES
from tests.nvrtc.cases import text
from tests.nvrtc.compiler import ARCHITECTURES, compile_all, known
from tests.nvrtc.models import PRECISIONS, model_calls


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NAMES)
def test_model(name: str, precision: str) -> None:
    """Without a warning, ptxas's own included."""
    wanted: dict[str, list[str]] = {}
    for architecture in filter(known, ARCHITECTURES):
        for made in model_calls(name, architecture, precision):
            wanted.setdefault(text(made), []).append(architecture)
    jobs = [(t, a) for t, able in wanted.items() for a in (able if takes_all(repeats=True) else able[:1])]
    found = [f"{a}: {w}" for (_, a), done in zip(jobs, compile_all(jobs), strict=True) for w in done.warnings]
    assert jobs and not found, "\n".join(found)
