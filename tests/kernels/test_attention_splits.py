"""How the CPU variant of attention cuts heads into work-items."""

from __future__ import annotations

import pytest

from a1400.kernels.attention import CPU_QUERIES, SPEC, cpu_splits
from a1400.kernels.attention_cases import scalars


@pytest.mark.parametrize("cores", [1, 2, 16, 64])
@pytest.mark.parametrize("queries", [5, 12, 49, 197, 1500])
@pytest.mark.parametrize("heads", [1, 3, 12, 192])
def test_no_item_is_empty(cores: int, queries: int, heads: int) -> None:
    splits = cpu_splits(scalars(1, heads, heads, queries, queries, 64, 64), cores)
    assert 1 <= splits <= -(-queries // CPU_QUERIES)
    if cores == 1:
        assert splits == 1  # more items would pack the keys more often


def test_a_lone_head_keeps_all_cores_busy() -> None:
    assert cpu_splits(scalars(1, 1, 1, 4096, 256, 32, 32), 2) >= 2
    assert cpu_splits(scalars(1, 1, 1, 4096, 256, 32, 32), 16) >= 16
    assert cpu_splits(scalars(64, 3, 3, 49, 49, 32, 32), 2) == 1


def test_the_number_of_cores_makes_no_program() -> None:
    values = scalars(1, 1, 1, 4096, 256, 32, 32)
    variant = SPEC.variant("cpu_d64")
    grids = {variant.geometry(values, variant.settings({"CORES": cores}))[0] for cores in (2, 16)}
    assert len(grids) == 2 and [t.name for t in variant.tunables if not t.compiled] == ["CORES"]
