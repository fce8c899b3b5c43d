"""What is flattened from a transpose is read untransposed, where the weights may be reordered for it."""

from __future__ import annotations

import pytest

from tests.optimizer.graphs import Build, count


def _classifier(b: Build, shape: tuple[int, ...], perm: tuple[int, ...], flat: tuple[int, ...]) -> None:
    rows = b.op("reshape", b.op("transpose", b.op("exp", b.input(*shape)), perm=perm), shape=flat)
    b.finish(b.op("add", b.op("matmul", rows, b.const(flat[-1], 10)), b.const(10)))
    b.check()


@pytest.mark.parametrize(
    ("shape", "perm", "flat"),
    [
        ((2, 3, 4, 5), (0, 3, 1, 2), (2, 60)),  # an image, channels last, flattened channels first
        ((2, 3, 4, 5), (0, 2, 1, 3), (2, 60)),
        ((2, 3, 4, 5, 6), (0, 4, 1, 2, 3), (2, 360)),
        ((2, 7, 3, 4), (0, 1, 3, 2), (2, 7, 12)),
        ((2, 7, 3, 4), (0, 1, 3, 2), (14, 12)),
        ((1, 4, 5, 3), (0, 3, 1, 2), (1, 60)),
    ],
)
def test_weights_are_reordered(shape: tuple[int, ...], perm: tuple[int, ...], flat: tuple[int, ...]) -> None:
    b = Build()
    _classifier(b, shape, perm, flat)
    assert count(b.graph, "transpose") == 0


@pytest.mark.parametrize(
    ("shape", "perm", "flat"),
    [
        ((2, 3, 4, 5), (1, 0, 2, 3), (3, 40)),  # the batch moves
        ((2, 3, 4, 5), (3, 0, 1, 2), (5, 24)),
        ((4, 6, 5), (0, 2, 1), (8, 15)),  # rows are parts of axes
    ],
)
def test_transposes_that_stay(shape: tuple[int, ...], perm: tuple[int, ...], flat: tuple[int, ...]) -> None:
    b = Build()
    _classifier(b, shape, perm, flat)
    assert count(b.graph, "transpose") == 1


def test_large_weights_are_not_held_twice() -> None:
    b = Build()
    rows = b.op("reshape", b.op("transpose", b.op("exp", b.input(1, 8, 8, 64)), perm=(0, 3, 1, 2)), shape=(1, 4096))
    b.finish(b.op("matmul", rows, b.const(4096, 300)))
    b.check()
    assert count(b.graph, "transpose") == 1
