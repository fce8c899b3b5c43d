"""Index spaces and expressions before they reach a device: collapsing, splitting, keys, printing."""

from __future__ import annotations

import dataclasses
from math import prod

import numpy as np
import pytest

from a1400.backends.base import DeviceInfo
from a1400.kernels.expr import apply, arg, cast, const, evaluate, substitute
from a1400.kernels.pointwise import POINTWISE, RANKS, choose_pointwise_variant, collapse, scalars, split
from a1400.kernels.pointwise_ops import OPS
from a1400.kernels.printer import literal, print_statements
from a1400.kernels.spec import SlotCode
from a1400.kernels.transpose import match

F32 = np.dtype(np.float32)
CPU = DeviceInfo(
    "opencl", 0, "cpu", "v", "p", "d", "cpu", 2**32, 2**31, 2**15, 2, 4096, 64, False, False, False, False, True
)  # fmt: skip


def walk(sizes: tuple[int, ...], strides: tuple[int, ...]) -> list[int]:
    """Every offset, in order."""
    return [int(np.dot(c, strides)) for c in np.ndindex(*sizes)]


def test_collapse_keeps_every_walk() -> None:
    rng = np.random.default_rng(3)
    for _ in range(300):
        sizes = tuple(int(n) for n in rng.integers(1, 4, rng.integers(0, 7)))
        contiguous = tuple(prod(sizes[d + 1 :]) for d in range(len(sizes)))
        views = [contiguous]
        for _ in range(2):  # a broadcast, a flip or a permutation of some dimensions
            kind = rng.integers(0, 3, len(sizes))
            views.append(tuple(int(s) * (1, 0, -1)[k] for s, k in zip(contiguous, kind)))
        made, collapsed = collapse(sizes, views)
        assert len(made) in RANKS
        for before, after in zip(views, collapsed):
            assert walk(made, after) == walk(sizes, before)


def test_collapse_merges_and_pads() -> None:
    assert collapse((2, 3, 4), [(12, 4, 1), (12, 4, 1)]) == ((24,), [(1,), (1,)])
    assert collapse((2, 3, 4), [(12, 4, 1), (0, 4, 1)]) == ((2, 12), [(12, 1), (0, 1)])
    assert collapse((), [()]) == ((1,), [(1,)])
    sizes, (strides,) = collapse((2, 3, 4), [(100, 10, 2)])
    assert (sizes, strides) == ((1, 2, 3, 4), (0, 100, 10, 2))
    with pytest.raises(ValueError, match="7 dimensions"):
        collapse((2,) * 7, [tuple(3 ** (6 - d) for d in range(7))])


@pytest.mark.parametrize("sizes", [(1,), (0,), (5000,), (10**7,), (0, 5), (3, 10**6), (10**6, 3), (2, 3, 4, 0)])
def test_split_covers_and_feeds_every_core(sizes: tuple[int, ...]) -> None:
    parts = split(CPU, sizes)
    assert parts["rows_per_item"] > 0 and parts["inner_chunk"] > 0
    rank = len(sizes)
    (x, y, _), _ = POINTWISE[rank, 1].variant("cpu").geometry(scalars(CPU, sizes, [(0, (0,) * rank)]), {})
    assert x * parts["inner_chunk"] >= sizes[-1] and y * parts["rows_per_item"] >= prod(sizes[:-1])
    if prod(sizes) >= 10**6:
        assert x * y >= 4 * CPU.compute_units
    if 0 < prod(sizes) <= 5000:
        assert x * y <= 2


def test_the_variant_follows_the_device() -> None:
    code = SlotCode(apply("exp", arg(1, F32)))
    assert choose_pointwise_variant(CPU, code, F32).name == "cpu"
    assert choose_pointwise_variant(dataclasses.replace(CPU, kind="gpu"), code, F32).name == "gpu"
    gpu = dataclasses.replace(CPU, backend="cuda", kind="gpu")
    assert choose_pointwise_variant(gpu, code, F32, rank=4).name == "gpu"


def test_equal_trees_have_equal_keys() -> None:
    def tree() -> object:
        x = arg(1, F32)
        return apply("mul", apply("add", x, const(0.5, F32)), apply("add", x, const(0.5, F32)))

    assert tree() == tree()
    assert tree() != apply("mul", arg(1, F32), arg(2, F32))
    assert const(float("nan"), F32) == const(float("nan"), F32)


def test_shared_parts_are_printed_once() -> None:
    x = arg(0, F32)
    e = apply("exp", x)
    lines, (result,) = print_statements([apply("mul", e, e)], ["v"])
    assert lines == ["const float t0 = a_exp(v);", "const float t1 = (t0 * t0);"]
    assert result == "t1"


def test_substitute_replaces_operands() -> None:
    x, y = arg(0, F32), arg(1, F32)
    made = substitute(apply("add", x, y), {1: apply("neg", arg(2, F32))})
    a, b = np.float32([3]), np.float32([5])
    assert evaluate(made, [a, b, b])[0] == -2


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (0.1, "f4", "0x1.99999a0000000p-4f"),
        (-2.0, "f4", "(-0x1.0000000000000p+1f)"),
        (float("-inf"), "f4", "(float)((-A_INF))"),
        (-(2**31), "i4", "(-2147483647 - 1)"),
        (-(2**63), "i8", "(-9223372036854775807L - 1)"),
        (2**64 - 1, "u8", "(18446744073709551615UL)"),
    ],
)
def test_literals_are_exact(value: float, dtype: str, text: str) -> None:
    assert literal(value, np.dtype(dtype)) == text


def test_every_operation_states_its_arity() -> None:
    for name, op in OPS.items():
        used = {k for k in range(6) if f"{{{k}}}" in op.c}
        assert used == set(range(op.arity)), name
        with pytest.raises(TypeError):
            op.result_dtype([F32] * (op.arity + 1))


def test_casts_round_as_storage_would() -> None:
    x = np.float32([1.0009765, 65500.0, 3.0])
    halves = cast(cast(arg(0, F32), np.dtype(np.float16)), F32)
    assert np.array_equal(evaluate(halves, [x]), x.astype(np.float16).astype(np.float32))


def test_a_permuted_copy_is_recognised_as_a_transposition() -> None:
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(200):
        rank = int(rng.integers(2, 5))
        shape = tuple(int(n) for n in rng.choice([1, 2, 8, 9], rank))
        order = rng.permutation(rank)
        source = np.arange(prod(shape)).reshape(shape)
        view = source.transpose(order)
        sizes, (out, into) = collapse(
            view.shape, [tuple(prod(view.shape[d + 1 :]) for d in range(rank)), tuple(s // 8 for s in view.strides)]
        )
        s = match(sizes, out, into)
        if s is None:
            continue
        found += 1
        y = np.full(view.size, -1)
        a, b, r, c = np.ogrid[: s["n0"], : s["n1"], : s["rows"], : s["cols"]]
        at = a * s["x_s0"] + b * s["x_s1"] + r * s["x_sr"] + c
        y[a * s["y_s0"] + b * s["y_s1"] + c * s["y_sc"] + r] = source.reshape(-1)[at]
        assert np.array_equal(y, view.reshape(-1))
    assert found > 20
    assert match((5, 30), (30, 1), (1, 5)) is None, "too narrow"
    assert match((8, 16, 32), (512, 32, 1), (512, 32, 1)) is None, "both sides contiguous"
