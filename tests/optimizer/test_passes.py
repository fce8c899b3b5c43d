"""Folding, shape folding, algebra, common subexpressions, and the driver."""

from __future__ import annotations

import numpy as np
import pytest

from a1400.graph.graph import Graph, Node, Value, evaluate
from a1400.optimizer import PASSES, optimize
from tests.optimizer.graphs import Build, count, find


def append(graph: Graph, op: str, inputs: list[Value], size: tuple[int, ...], **attrs: object) -> Value:
    """A node past the folding that graph building does."""
    node = Node(op, inputs, dict(attrs), (op,))
    node.outputs = [Value(size, inputs[0].dtype, producer=node)]
    graph.nodes.append(node)
    return node.output


def test_unknown_pass_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"nonsense.*dead_code"):
        optimize(Graph(), disable=["nonsense", "fusion"])


def test_disabled_passes_do_not_run() -> None:
    b = Build()
    b.finish(b.relu(b.op("add", b.input(3, 4), b.const(4))))
    report = b.check(disable=list(PASSES))
    assert not report.passes and report.disabled == tuple(PASSES)
    assert [n.op for n in b.graph.nodes] == ["add", "max"]


def test_the_schedule_can_end_early() -> None:
    """What gradients are taken of: patterns are recognised, nothing is fused."""
    b = Build()
    x = b.input(3, 8)
    mean = b.graph.op("reduce", x, kind="mean", axes=(1,), keepdims=True)
    middle = b.graph.op("sub", x, mean)
    power = b.graph.op("reduce", b.graph.op("mul", middle, middle), kind="mean", axes=(1,), keepdims=True)
    spread = b.graph.op("sqrt", b.graph.op("add", power, b.graph.constant(1e-5, x.dtype)))
    b.graph.output("y", b.graph.op("exp", b.graph.op("div", middle, spread)))
    report = optimize(b.graph, until="recognition")
    assert report.passes[-1].name == "recognition"
    assert [n.op for n in b.graph.nodes] == ["layer_norm", "exp"]
    with pytest.raises(ValueError, match="no pass is called 'gradients'"):
        optimize(b.graph, until="gradients")


def test_report_counts_nodes_and_prints() -> None:
    b = Build()
    x = b.input(3, 4)
    b.op("neg", x)
    b.finish(b.op("tanh", b.op("add", x, b.const(4))))
    report = b.check()
    assert report.count("dead_code") == 1 and report.seconds > 0
    first = report.to_dict()[0]
    assert (first["name"], first["nodes_before"], first["nodes_after"]) == ("dead_code", 3, 2)
    assert "dead_code" in str(report)


def test_every_source_is_found_after_fusion() -> None:
    b = Build()
    y = b.relu(b.batch_norm(b.conv(b.input(1, 3, 8, 8), 4)))
    b.finish(y)
    names = {s for n in b.graph.nodes for s in n.sources if "transpose" not in s}
    b.check()
    assert names <= {s for n in b.graph.nodes for s in n.sources}


def test_constants_fold_once_per_model() -> None:
    w, memo = np.random.default_rng(0).standard_normal((80, 80)).astype(np.float32), {}

    def trace() -> np.ndarray:
        g = Graph()
        x = g.input("x", (2, 80), np.float32)
        folded = append(g, "mul", [g.constant(w), g.constant(np.float32(2))], (80, 80))
        g.output("y", g.op("matmul", x, folded))
        optimize(g, memo=memo)
        assert [n.op for n in g.nodes] == ["matmul"]
        data = g.nodes[0].inputs[1].data
        np.testing.assert_array_equal(data, w * 2)
        return data

    assert trace() is trace()


def test_views_of_weights_made_by_each_trace_are_one_array() -> None:
    w, memo = np.random.default_rng(0).standard_normal((100, 90)).astype(np.float32), {}

    def trace() -> np.ndarray:
        g = Graph()
        x = g.input("x", (2, 90), np.float32)
        g.output("y", g.op("matmul", x, g.op("transpose", g.constant(w), perm=(1, 0))))
        optimize(g, memo=memo)
        return g.nodes[0].inputs[1].data

    assert trace() is trace()


def test_folding_does_not_blow_up_memory() -> None:
    g = Graph()
    x = g.input("x", (1, 600, 700), np.float32)
    big = append(g, "expand", [g.constant(np.ones((1, 1, 700), np.float32))], (3, 600, 700), shape=(3, 600, 700))
    g.output("y", append(g, "concat", [x, big], (4, 600, 700), axis=0))
    report = optimize(g)
    assert count(g, "expand") == 1
    assert "larger" in report.to_dict()[1]["notes"]


def test_output_may_become_an_input_or_a_constant() -> None:
    b = Build()
    x = b.input(2, 3)
    b.finish(b.op("reshape", b.op("reshape", x, shape=(6,)), shape=(2, 3)), b.op("mul", b.const(2), b.number(3)))
    b.check()
    assert not b.graph.nodes and b.graph.outputs["y0"] is x


@pytest.mark.parametrize(
    "steps",
    [
        [("reshape", {"shape": (6, 4)}), ("reshape", {"shape": (2, 3, 4)})],
        [("transpose", {"perm": (2, 0, 1)}), ("transpose", {"perm": (1, 2, 0)})],
        [("slice", {"starts": (0, 0, 0), "shape": (2, 3, 4), "steps": (1, 1, 1)})],
        [("expand", {"shape": (2, 3, 4)})],
        [("pad", {"low": (0, 0, 0), "high": (0, 0, 0), "mode": "edge"})],
        [("cast", {"to": np.float64}), ("cast", {"to": np.float32})],
        [("neg", {}), ("neg", {})],
        [("reshape", {"shape": (2, 3, 4, 1)}), ("reduce", {"kind": "mean", "axes": (3,), "keepdims": False})],
    ],
    ids=lambda s: "-".join(op for op, _ in s),
)
def test_nothing_is_left_of_what_does_nothing(steps: list) -> None:
    b = Build()
    y = x = b.input(2, 3, 4)
    for op, attrs in steps:
        y = b.op(op, y, **attrs)
    b.finish(y)
    b.check()
    assert b.graph.outputs["y0"] is x


def test_slices_merge() -> None:
    b = Build()
    y = b.op("slice", b.input(9, 8), starts=(1, 7), shape=(8, 4), steps=(1, -2))
    b.finish(b.op("slice", y, starts=(7, 1), shape=(4, 3), steps=(-2, 1)))
    b.check()
    assert count(b.graph, "slice") == 1


def test_slice_of_concat_reads_the_part() -> None:
    b = Build()
    parts = [b.input(2, n) for n in (3, 4, 5)]
    joined = b.op("concat", *parts, axis=1)
    b.finish(b.op("slice", joined, starts=(0, 3), shape=(2, 4), steps=(1, 1)))
    b.check()
    assert b.graph.outputs["y0"] is parts[1]


def test_neighbouring_slices_are_joined_again() -> None:
    b = Build()
    x, y = b.input(2, 8, 3), b.input(2, 4, 3)
    low, high = (b.op("slice", x, starts=(0, at, 0), shape=(2, 4, 3), steps=(1, 1, 1)) for at in (0, 4))
    odd, even = (b.op("slice", x, starts=(0, at, 0), shape=(2, 4, 3), steps=(1, 2, 1)) for at in (1, 0))
    b.finish(
        b.op("concat", low, high, b.op("add", high, y), axis=1),
        b.op("concat", high, low, axis=1),
        b.op("concat", odd, even, axis=1),
        b.op("concat", low, high, axis=1),
        b.op("concat", low, high, axis=2),
    )
    b.check()
    outputs = list(b.graph.outputs.values())
    producers = [value.producer for value in outputs]
    assert producers[0] is not None and producers[0].inputs[0] is x and len(producers[0].inputs) == 2
    assert outputs[3] is x
    assert [n is not None and len(n.inputs) for n in (producers[1], producers[2], producers[4])] == [2, 2, 2]


def test_gather_of_evenly_spaced_constants_is_a_slice() -> None:
    b = Build()
    x = b.input(3, 6, 2)
    index = b.graph.constant(np.array([[1, 3], [5, 5]][0], np.int64))
    b.finish(
        b.op("gather", x, b.graph.constant(np.int64(-1)), axis=1), b.op("gather", x, index, axis=1),
        b.op("gather", x, b.graph.constant(np.array([0, 0], np.int64)), axis=0),
    )  # fmt: skip
    b.check()
    assert count(b.graph, "gather") == 1 and count(b.graph, "slice") == 2


def test_gather_nd_by_constants_in_order_is_a_reshape() -> None:
    b = Build()
    index = np.stack(np.broadcast_arrays(np.arange(2)[:, None], np.arange(5)), -1).reshape(2, 1, 5, 2)
    b.finish(b.op("gather_nd", b.input(2, 5, 3), b.graph.constant(index.astype(np.int64)), batch_dims=0))
    b.check()
    assert [n.op for n in b.graph.nodes] == ["reshape"]


def test_expand_in_front_of_pointwise_is_dropped() -> None:
    b = Build()
    x, y = b.input(4, 1, 5), b.input(4, 3, 5)
    wide = b.op("expand", x, shape=(4, 3, 5))
    b.finish(b.op("add", wide, y), b.op("tanh", wide))
    b.check()
    assert [n.op for n in b.graph.nodes] == ["pointwise", "pointwise", "expand"]


@pytest.mark.parametrize(
    ("exponent", "ops"), [(2, {"mul"}), (3, {"mul"}), (0.5, {"sqrt"}), (-1, {"reciprocal"}), (1, set()), (1.7, {"pow"})]
)
def test_powers(exponent: float, ops: set[str]) -> None:
    b = Build()
    x = b.op("add", b.op("abs", b.input(5, 4)), b.number(1))
    b.finish(b.op("pow", x, b.number(exponent)))
    b.check(disable=["fusion"])
    assert {n.op for n in b.graph.nodes} - {"abs", "add"} == ops


def test_neutral_operands_and_chains() -> None:
    b = Build()
    x = b.input(3, 4)
    y = b.op("add", b.op("mul", x, b.number(1)), b.number(0))
    y = b.op("div", b.op("sub", y, b.const(3, 4)), b.number(4))
    y = b.op("max", b.op("max", b.op("min", b.op("min", y, b.number(6)), b.number(5)), b.number(0)), b.number(1))
    b.finish(y, b.op("mul", b.op("mul", x, b.const(4)), b.number(3)))
    b.check(disable=["fusion"])
    assert [n.op for n in b.graph.nodes] == ["sub", "mul", "min", "max", "mul"]


def test_integers_are_rewritten_only_where_exact() -> None:
    b = Build()
    x = b.input(3, 4, dtype=np.int32)
    y = b.op("div", b.op("sub", x, b.number(2, np.int32)), b.number(3, np.int32))
    b.finish(y, b.op("pow", x, b.number(2, np.int32)), b.op("mul", x, b.number(1, np.int32)))
    b.check(disable=["fusion"])
    assert [n.op for n in b.graph.nodes] == ["sub", "div", "mul"]


def test_casts_merge_only_when_nothing_is_lost() -> None:
    b = Build()
    x = b.input(4, 5)
    b.finish(
        b.op("cast", b.op("cast", x, to=np.int32), to=np.float32),
        b.op("cast", b.op("cast", x, to=np.float64), to=np.float16),
    )
    b.check(disable=["fusion"])
    assert count(b.graph, "cast") == 3


def test_masks() -> None:
    b = Build()
    x, m = b.input(4, 5), b.input(4, 5, dtype=np.bool_)
    inverted = b.op("not", m)
    always = b.graph.constant(np.ones((4, 5), np.bool_))
    b.finish(
        b.op("where", inverted, x, b.number(0)), b.op("not", b.op("not", m)), b.op("where", always, x, b.number(1)),
        b.op("and", m, always), b.op("not", b.op("eq", x, b.number(0))),
    )  # fmt: skip
    b.check(disable=["fusion"])
    assert [n.op for n in b.graph.nodes] == ["where", "ne"]


def test_common_subexpressions() -> None:
    b = Build()
    x = b.input(4, 5)
    w = b.array(5, 5)
    y = [b.op("matmul", x, b.graph.constant(w)) for _ in range(2)]
    z = [b.op("add", v, b.graph.constant(np.full(5, 2, np.float32))) for v in y]
    b.finish(b.op("concat", *z, axis=0))
    report = b.check(disable=["fusion"])
    assert report.count("common_subexpressions") == 2
    assert count(b.graph, "matmul") == count(b.graph, "add") == 1


def test_reshape_around_a_product_moves_behind_its_epilogue() -> None:
    b = Build()
    x = b.input(2, 3, 8)
    y = b.op("add", b.op("matmul", b.op("reshape", x, shape=(6, 8)), b.const(8, 8)), b.const(8))
    y = b.relu(b.op("reshape", y, shape=(2, 3, 8)))
    b.finish(b.op("add", y, x))
    b.check()
    node = find(b.graph, "matmul")
    assert len(b.graph.nodes) == 1 and node.attrs["epilogue_inputs"] == 2


def test_memo_is_used_for_other_shapes() -> None:
    scale, w, memo = np.full((1, 4, 1, 1), 1.5, np.float32), np.ones((4, 3, 3, 3), np.float32), {}

    def weights(side: int) -> np.ndarray:
        b = Build()
        y = b.op("transpose", b.input(1, 3, side, side), perm=(0, 2, 3, 1))
        y = b.op(
            "conv", y, b.graph.constant(w), strides=(1, 1), dilations=(1, 1), low=(1, 1), high=(1, 1), groups=1
        )  # fmt: skip
        b.finish(b.op("mul", b.op("transpose", y, perm=(0, 3, 1, 2)), b.graph.constant(scale)))
        expected = evaluate(b.graph, b.feeds)
        optimize(b.graph, memo=memo)
        np.testing.assert_allclose(evaluate(b.graph, b.feeds)["y0"], expected["y0"], rtol=1e-5, atol=1e-5)
        return find(b.graph, "conv").inputs[1].data

    assert weights(8) is weights(12)
