"""Storing float32 tensors as half or bfloat16: what narrows, what stays, and that nothing is rounded twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from a1400 import dtypes
from a1400.graph import Graph
from a1400.graph.graph import Node, Value, evaluate
from a1400.kernels import expr as expressions
from a1400.optimizer import PASSES, Report, optimize
from a1400.optimizer import precision as narrowing
from a1400.optimizer import precision_rules as rules
from tests.optimizer.graphs import Build, find, well_formed
from tests.optimizer.test_random_graphs import _grow

F16, F32 = np.dtype(np.float16), np.dtype(np.float32)
BOTH = pytest.mark.parametrize("precision", ["fp16", "bf16"])
STEP = {"fp16": 2.0**-11, "bf16": 2.0**-8}  # relative error of one rounding
LOWEST = float(np.finfo(np.float32).min)


def _narrow(b: Build, precision: str, *outputs: Value, **options: Any) -> Report:
    graph, before = b.finish(*outputs), [v.dtype for v in outputs]
    report = optimize(graph, precision=precision, **options)
    well_formed(graph)
    assert [v.dtype for v in graph.outputs.values()] == before
    return report


def _reasons(report: Report) -> set[str]:
    assert report.narrowing is not None
    return set(report.narrowing.kept)


def _mlp(b: Build) -> Value:
    h = b.relu(b.op("add", b.op("matmul", b.input(4, 300), b.const(300, 200)), b.const(200)))
    return b.op("softmax", b.op("matmul", h, b.const(200, 10)), axis=1)


@BOTH
def test_tensors_between_nodes_and_weights_narrow(precision: str) -> None:
    b = Build()
    y = _mlp(b)
    before = evaluate(b.finish(y), b.feeds)["y0"]
    report = optimize(b.graph, precision=precision)
    well_formed(b.graph)
    short = {"fp16": "f16", "bf16": "bf16"}[precision]
    # the input is cast for the product; both products are stored narrow; the softmax is the output
    assert [(n.op, dtypes.short(n.output.dtype)) for n in b.graph.nodes] == [
        ("cast", short), ("matmul", short), ("matmul", short), ("softmax", "f32"),
    ]  # fmt: skip
    assert report.narrowing is not None and (report.narrowing.values, report.narrowing.casts) == (2, 1)
    assert report.narrowing.weights == 2 and _reasons(report) == {rules.OUTPUT}
    # the bias only takes part in an expression: float32
    assert sorted(dtypes.short(c.dtype) for c in b.graph.constants()) == sorted([short, short, "f32"])
    after = evaluate(b.graph, b.feeds)["y0"]
    assert after.dtype == F32 and 0 < np.abs(after - before).max() < 20 * STEP[precision]


@BOTH
@pytest.mark.parametrize("fused", [True, False], ids=["fused", "plain"])
def test_an_expression_is_rounded_once(precision: str, fused: bool) -> None:
    """However long the expression, the stored tensor is the float32 result rounded to nearest."""
    b = Build()
    x, z = b.input(5, 64), b.input(64)
    y = b.op("mul", b.op("tanh", b.op("add", b.op("mul", x, z), b.number(0.1))), b.op("sub", x, z))
    total = b.op("reduce", y, kind="max", axes=(1,), keepdims=True)  # a reader that fusion does not take in
    out = b.op("sub", y, total)
    if not fused:
        _narrow(b, precision, out, disable=list(PASSES))
        assert len(b.graph.nodes) == 7 and all(n.op == "pointwise" for n in b.graph.nodes if n.op != "reduce")
        return
    _narrow(b, precision, out)
    maker = next(n for n in b.graph.nodes if n.op == "pointwise" and n.output.dtype == narrowing.NARROW[precision])
    casts = [e for e in expressions.topological([maker.attrs["expr"]]) if e.op == "cast"]
    assert len(casts) == 1 and maker.attrs["expr"] is casts[0]
    (middle,) = _values(b, maker)
    x0, z0 = b.feeds["x0"], b.feeds["x1"]
    exact = np.tanh(x0 * z0 + np.float32(0.1)) * (x0 - z0)
    np.testing.assert_array_equal(middle, exact.astype(middle.dtype))


def _values(b: Build, node: Node) -> list[np.ndarray]:
    """What a node stores, by the references."""
    g = Graph("part")
    g.nodes, g.inputs = b.graph.nodes, b.graph.inputs
    for i, value in enumerate(node.outputs):
        g.output(f"v{i}", value)
    return list(evaluate(g, b.feeds).values())


@BOTH
def test_an_epilogue_takes_the_unrounded_sum(precision: str) -> None:
    b = Build()
    y = b.op("sigmoid", b.op("matmul", b.input(30, 12), b.const(12, 8)))
    _narrow(b, precision, b.op("softmax", y, axis=1), disable=["recognition"])
    node = find(b.graph, "matmul")
    assert "epilogue" in node.attrs
    (got,) = _values(b, node)
    (a, c) = (np.asarray(v, np.float64) for v in (_values(b, find(b.graph, "cast"))[0], node.inputs[1].data))  # type: ignore[union-attr]
    np.testing.assert_array_equal(got, (1 / (1 + np.exp(-(a @ c)))).astype(np.float32).astype(got.dtype))


def test_weights_are_rounded_once_per_model() -> None:
    weights, memo = np.random.default_rng(0).standard_normal((64, 500)).astype(np.float32), {}
    found = []
    for rows in (1, 7):
        g = Graph("m")
        x = g.input("x", (rows, 64), F32)
        g.output("y", g.op("matmul", x, g.constant(weights)))
        optimize(g, precision="fp16", memo=memo)
        found.append(find(g, "matmul").inputs[1].data)  # type: ignore[union-attr]
    assert found[0] is found[1] and found[0].dtype == F16
    np.testing.assert_array_equal(found[0], weights.astype(np.float16))


@pytest.mark.parametrize(
    ("precision", "scale", "stays"),
    [("fp16", 1.0, False), ("fp16", 1e6, True), ("fp16", 1e-7, True), ("bf16", 1e6, False), ("bf16", 1e-7, False)],
)
def test_weights_that_would_overflow_or_vanish_stay(precision: str, scale: float, stays: bool) -> None:
    b = Build()
    w = b.graph.constant(b.array(40, 30) * np.float32(scale))
    report = _narrow(b, precision, b.op("matmul", b.op("tanh", b.input(4, 40)), w))
    assert (find(b.graph, "matmul").inputs[1].dtype == F32) is stays  # type: ignore[union-attr]
    assert (narrowing.WEIGHTS in _reasons(report)) is stays


@BOTH
def test_masks_beyond_the_range_stay_and_work(precision: str) -> None:
    """``(1 - mask) * lowest`` added to scores, whichever way it comes; a row that hides everything is an average."""
    b = Build()
    mask = b.graph.input("mask", (2, 1, 1, 9), np.dtype(np.int64))
    b.feeds["mask"] = np.array([[1] * 6 + [0] * 3, [0] * 9]).reshape(2, 1, 1, 9)
    added = b.op("mul", b.op("sub", b.number(1), b.op("cast", mask, to=np.float32)), b.number(LOWEST))
    q, k = b.op("tanh", b.input(2, 4, 9, 8)), b.op("tanh", b.input(2, 4, 8, 9))
    scores = b.op("add", b.op("matmul", q, k), added)
    y = b.op("softmax", scores, axis=3)
    before = evaluate(b.finish(y), b.feeds)["y0"]
    report = optimize(b.graph, precision=precision, disable=["recognition"])
    well_formed(b.graph)
    assert rules.CONSTANTS in _reasons(report)
    after = evaluate(b.graph, b.feeds)["y0"]
    assert np.all(after[0, ..., 6:] == 0)
    np.testing.assert_allclose(after[1], 1 / 9, rtol=1e-6)
    assert np.abs(after - before).max() < 8 * STEP[precision]


@BOTH
def test_attention_keeps_its_mask(precision: str) -> None:
    b = Build()
    q, k, v = (b.op("tanh", b.input(1, 2, 5, 8)) for _ in range(3))
    hidden = np.triu(np.full((5, 5), LOWEST, np.float32), 2)  # not causal: two diagonals are seen
    y = b.op("attention", q, k, v, b.graph.constant(hidden), scale=0.3)
    before = evaluate(b.finish(y), b.feeds)["y0"]
    optimize(b.graph, precision=precision)
    well_formed(b.graph)
    node = find(b.graph, "attention")
    assert [x.dtype for x in node.inputs if x is not None] == [narrowing.NARROW[precision]] * 3 + [F32]
    assert np.abs(evaluate(b.graph, b.feeds)["y0"] - before).max() < 4 * STEP[precision]


@pytest.mark.parametrize(
    ("text", "large"),
    [
        ("where", True), ("add", True), ("clip", False), ("exp", False), ("compare", False), ("numerator", True),
        ("denominator", False), ("infinite", False),
    ],
)  # fmt: skip
def test_which_expressions_hold_large_numbers(text: str, large: bool) -> None:
    x, big = expressions.arg(0, F32), expressions.const(LOWEST, F32)
    less = expressions.apply("lt", x, big)
    tree = {
        "where": lambda: expressions.apply("where", less, x, big),
        "add": lambda: expressions.apply("add", x, big),
        "clip": lambda: expressions.apply("max", expressions.apply("min", x, expressions.const(-LOWEST, F32)), big),
        "exp": lambda: expressions.apply("exp", big),
        "compare": lambda: expressions.cast(less, F32),
        "numerator": lambda: expressions.apply("div", big, x),
        "denominator": lambda: expressions.apply("div", x, big),
        "infinite": lambda: expressions.apply("where", less, x, expressions.const(-np.inf, F32)),
    }[text]()
    assert rules.holds_large(tree, 65504, ()) is large
    assert rules.holds_large(expressions.apply("neg", x), 65504, {0}) and not rules.holds_large(x, 65504, {1})


@pytest.mark.parametrize("name", ["exp", "square", "pow", "reciprocal", "scaled"])
def test_results_that_leave_the_range_of_half_stay(name: str) -> None:
    def build() -> tuple[Build, Value]:
        b = Build()
        x = b.input(6, 40)
        y = {
            "exp": lambda: b.op("exp", x),
            "square": lambda: b.op("mul", x, x),
            "pow": lambda: b.op("pow", b.op("abs", x), b.number(2.5)),
            "reciprocal": lambda: b.op("div", b.number(1), x),
            "scaled": lambda: b.op("add", b.op("mul", b.op("exp", x), b.number(3)), b.number(1)),
        }[name]()
        return b, b.op("cumulate", b.op("softmax", y, axis=0), kind="sum", axis=1, exclusive=False, reverse=False)

    for precision, stays in (("fp16", True), ("bf16", False)):
        b, y = build()
        report = _narrow(b, precision, y, disable=["fusion", "algebra"])
        assert (rules.GROWTH in _reasons(report)) is stays, str(b.graph)


@BOTH
def test_what_becomes_integers_angles_or_coordinates_is_exact(precision: str) -> None:
    b = Build()
    count = b.graph.input("count", (1, 3000), np.dtype(np.int64))
    b.feeds["count"] = np.arange(3000).reshape(1, 3000)
    numbers = b.op("cast", count, to=np.float32)
    # rotary embeddings: positions times frequencies, a product over one term
    angles = b.op("matmul", b.const(16, 1), numbers)
    turned = b.op("sin", b.op("concat", angles, angles, axis=0))
    scaled = b.op("mul", b.op("transpose", numbers, perm=(1, 0)), b.number(0.37))
    buckets = b.op("cast", b.op("floor", scaled), to=np.int64)
    image = b.op("tanh", b.input(1, 12, 12, 4))
    grid = b.op("tanh", b.op("reshape", b.input(5, 10, 2), shape=(1, 5, 10, 2)))
    sampled = b.op("grid_sample", image, grid, mode="linear", padding="zeros", align_corners=True)
    before = evaluate(b.finish(turned, buckets, sampled), b.feeds)
    report = optimize(b.graph, precision=precision, disable=["fusion"])
    well_formed(b.graph)
    after = evaluate(b.graph, b.feeds)
    np.testing.assert_array_equal(after["y1"], before["y1"])
    np.testing.assert_allclose(after["y0"], before["y0"], atol=1e-6)
    assert np.abs(after["y2"] - before["y2"]).max() < 2 * STEP[precision]
    assert {rules.ANGLES, rules.COORDINATES, rules.INTEGERS} & _reasons(report)
    assert find(b.graph, "grid_sample").inputs[1].dtype == F32  # type: ignore[union-attr]
    assert find(b.graph, "grid_sample").inputs[0].dtype != F32  # type: ignore[union-attr]


@BOTH
def test_sums_and_rankings_stay(precision: str) -> None:
    b = Build()
    x = b.op("tanh", b.input(3, 5000))
    running = b.op("cumulate", x, kind="sum", axis=1, exclusive=False, reverse=False)
    total = b.op("reduce", b.op("abs", x), kind="sum", axes=(1,), keepdims=True)
    best = b.op("arg_reduce", b.op("div", x, total), kind="argmax", axis=1, keepdims=False, select_last=False)
    before = evaluate(b.finish(best, b.op("sub", running, total)), b.feeds)
    report = optimize(b.graph, precision=precision)
    well_formed(b.graph)
    after = evaluate(b.graph, b.feeds)
    np.testing.assert_array_equal(after["y0"], before["y0"])
    assert {rules.RUNNING, rules.SUMMED} <= _reasons(report)
    np.testing.assert_allclose(after["y1"], before["y1"], rtol=1e-5)


@BOTH
def test_bits_and_paths_are_those_of_float32(precision: str) -> None:
    b = Build()
    bits = b.op("bitcast", b.op("tanh", b.input(3, 50)), to=np.dtype(np.int32))
    scores = b.op("tanh", b.input(2, 4, 5))
    numbers = [b.graph.constant(np.array(n, np.int32)) for n in ([[0, 0, 0, 1, 0]] * 2, [4, 3], [2, 1])]
    loss, alpha = b.graph.multi("ctc", scores, *numbers)
    back = b.op("ctc_gradient", scores, *numbers, loss, alpha)
    before = evaluate(b.finish(bits, loss, b.op("exp", back)), b.feeds)
    report = optimize(b.graph, precision=precision)
    well_formed(b.graph)
    after = evaluate(b.graph, b.feeds)
    np.testing.assert_array_equal(after["y0"], before["y0"])
    np.testing.assert_allclose(after["y1"], before["y1"], rtol=1e-6)
    np.testing.assert_allclose(after["y2"], before["y2"], rtol=1e-6)
    assert {rules.BITS, rules.RUNNING} <= _reasons(report)


@BOTH
def test_outputs_of_kernels_that_store_what_they_read_are_cast(precision: str) -> None:
    b = Build()
    image = b.op("tanh", b.input(1, 4, 4, 8))
    window = {"kernel": (2, 2), "strides": (2, 2), "dilations": (1, 1), "low": (0, 0), "high": (0, 0), "out": (2, 2)}
    values, _ = b.graph.multi("max_pool_indices", image, **window)
    q, k, v = (b.op("tanh", b.input(1, 2, 5, 8)) for _ in range(3))
    report = _narrow(b, precision, values, b.op("attention", q, k, v, scale=0.3))
    assert report.narrowing is not None and report.narrowing.casts >= 1
    assert all(v.dtype == F32 for v in b.graph.outputs.values())


@BOTH
def test_other_types_are_left_alone(precision: str) -> None:
    def build() -> Graph:
        g = Graph("others")
        for name, dtype in (("i", np.int32), ("d", np.float64), ("h", np.float16), ("b", np.bool_)):
            x = g.input(name, (4, 6), np.dtype(dtype))
            y = g.op("not", x) if name == "b" else g.op("add", g.op("mul", x, x), x)
            g.output(f"{name}1", g.op("transpose", y, perm=(1, 0)))
        return g

    plain, narrowed = build(), build()
    optimize(plain)
    report = optimize(narrowed, precision=precision)
    assert str(plain) == str(narrowed)
    assert report.narrowing is not None and report.narrowing.values == report.narrowing.weights == 0


def test_fp32_and_tf32_change_nothing() -> None:
    texts = []
    for precision in ("fp32", "tf32"):
        b = Build()
        report = _narrow(b, precision, _mlp(b))
        assert report.narrowing is None and "precision" not in [p.name for p in report.passes]
        texts.append(str(b.graph))
    assert texts[0] == texts[1]
    with pytest.raises(ValueError, match="fp8"):
        optimize(Graph(), precision="fp8")


def test_the_report_says_what_and_why() -> None:
    b = Build()
    report = _narrow(b, "fp16", _mlp(b))
    last = report.passes[-1]
    assert last.name == "precision" and last.rewrites == 4
    assert last.notes == ["2 tensors and 2 weights stored as float16, 1 casts; 1 stay float32: 1 model output"]
    assert report.narrowing is not None
    told = report.narrowing.to_dict()
    assert told["bytes_saved"] == 2 * (300 * 200 + 200 * 10) + 2 * (4 * 200 + 4 * 10)
    assert list(told["kept"]) == [rules.OUTPUT] and told["kept"][rules.OUTPUT][0].startswith("softmax")


@BOTH
@pytest.mark.parametrize("seed", range(30))
def test_random_graphs_stay_well_formed(seed: int, precision: str) -> None:
    b = Build(seed)
    pool = [b.input(*shape) for shape in ((2, 3, 4), (4, 6), (3, 1, 2))]
    for _ in range(25):
        if (value := _grow(b, pool)) is not None and value.dtype == F32 and 0 < value.size < 4000:
            pool.append(value)
    outputs = [v for v in pool[-3:] if v.producer is not None]
    before = evaluate(b.finish(*outputs), b.feeds)
    optimize(b.graph, precision=precision, disable=["fusion"] if seed % 3 == 0 else [])
    well_formed(b.graph)
    after = evaluate(b.graph, b.feeds)
    for name, want in before.items():
        assert after[name].dtype == want.dtype and after[name].shape == want.shape
        if np.abs(want).max() < 100:
            assert np.isfinite(after[name]).all(), f"{name}\n{b.graph}"
