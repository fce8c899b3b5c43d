"""Which way a recurrent layer runs on a device."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from a1400.kernels import load_all, recurrent
from a1400.tuning.table import parse
from tests.kernels.test_pointwise_plan import CPU

GPU = replace(CPU, kind="gpu")
ONE, TWO = replace(CPU, compute_units=1), replace(CPU, compute_units=2)


@pytest.mark.parametrize(
    ("length", "batch", "hidden", "directions", "info", "way"),
    [
        (100, 1, 256, 1, TWO, "team"),  # one chain: half of the device would idle
        (100, 1, 256, 2, TWO, "sequence"),  # a chain each, whose weights a core's cache holds
        (100, 1, 272, 2, TWO, "team"),  # more weights than that
        (100, 1, 32, 1, TWO, "sequence"),  # a step is shorter than agreeing on it
        (100, 1, 128, 2, TWO, "sequence"),
        (100, 8, 128, 1, TWO, "sequence"),
        (1, 1, 256, 1, TWO, "sequence"),  # which picks the variant of a single step
        (100, 1, 256, 1, ONE, "sequence"),
        (100, 1, 512, 1, GPU, "step"),
        (100, 1, 64, 1, GPU, "sequence"),
    ],
)
def test_way(length: int, batch: int, hidden: int, directions: int, info: object, way: str) -> None:
    assert recurrent.choose_way("lstm", length, batch, hidden, directions, info) == way  # type: ignore[arg-type]


def test_one_step_is_shared_by_all_units() -> None:
    scalars = recurrent.scalars("lstm", 1, 1, 256)
    types = {"T": recurrent.F32}
    assert recurrent.LSTM.choose(TWO, types, scalars).name == "cpu_step"


def test_tables_cannot_make_a_team_larger_than_its_memory() -> None:
    row = {"kernel": "lstm", "variant": "cpu_team", "tunables": {"MEMBERS": recurrent.MOST_MEMBERS}, "source": "a test"}
    table = parse(json.dumps({"format": 1, "rows": [row]}), "of a test", load_all())
    assert not table.rows
    assert "decides MEMBERS by itself" in table.problems[0]
