"""Pointwise regions that become one node with several results."""

from __future__ import annotations

import numpy as np

from tests.optimizer.graphs import Build, count, find


def test_regions_that_read_the_same_tensors_are_one_node() -> None:
    b = Build()
    x, y = b.input(6, 5), b.input(6, 5)
    b.finish(b.op("tanh", b.op("add", x, y)), b.op("exp", b.op("mul", x, y)))
    b.check()
    node = find(b.graph, "pointwise")
    assert count(b.graph, "pointwise") == 1 and len(node.outputs) == 2 and len(node.inputs) == 2


def test_a_result_that_only_the_group_reads_is_not_stored() -> None:
    b = Build()
    x, y = b.input(6, 5), b.input(6, 5)
    z = b.op("tanh", b.op("mul", x, y))
    b.finish(b.op("exp", z), b.op("sin", z), b.op("cos", b.op("add", z, x)))
    b.check()
    assert count(b.graph, "pointwise") == 1 and len(find(b.graph, "pointwise").outputs) == 3


def test_no_way_may_lead_out_and_back_in() -> None:
    b = Build()
    x = b.input(6, 5)
    y = b.op("tanh", x)
    z = b.op("matmul", y, b.const(5, 5))
    b.finish(y, z, b.op("mul", b.op("matmul", z, b.const(5, 5)), b.op("exp", y)))
    b.check()


def test_two_groups_do_not_wait_for_each_other() -> None:
    b = Build()
    x, y = b.input(6, 5), b.input(5, 6)
    a1, b2 = b.op("tanh", x), b.op("tanh", y)
    b1, a2 = b.op("add", b.op("transpose", a1, perm=(1, 0)), y), b.op("add", b.op("transpose", b2, perm=(1, 0)), x)
    b.finish(a1, a2, b1, b2)
    b.check()
    assert count(b.graph, "pointwise") == 3


def test_at_most_four_results() -> None:
    b = Build()
    x = b.input(6, 5)
    b.finish(*(b.op("exp", b.op("mul", x, b.number(k))) for k in range(2, 8)))
    b.check()
    assert sorted(len(n.outputs) for n in b.graph.nodes) == [2, 4]


def test_masks_of_numbers_are_made_wherever_they_are_read() -> None:
    b = Build()
    x, y = b.input(6, 5), b.input(6, 5)
    number = b.graph.op("iota", shape=(6, 5))
    even = b.op("eq", b.op("bit_and", number, b.number(1, np.uint32)), b.number(0, np.uint32))
    first = b.op("where", even, x, b.number(0))
    b.finish(b.op("tanh", first), b.op("matmul", b.op("where", even, b.op("exp", y), b.number(0)), b.const(5, 3)))
    b.check()
    made = [n for n in b.graph.nodes if n.op == "pointwise"]
    assert len(made) == 2 and all(v.dtype == np.float32 for n in made for v in n.outputs)
