"""States: updates written in place and elsewhere, weights that are states, and programs that share them."""

from __future__ import annotations

import numpy as np
import pytest

from a1400.backends.base import Device
from a1400.engine.program import Program, States
from a1400.engine.updates import order_updates
from a1400.errors import GraphError, InputError
from a1400.graph import Graph
from a1400.graph.graph import UPDATED, Value, evaluate
from a1400.graph.tensor import Tensor
from a1400.optimizer import PASSES

F32 = np.dtype(np.float32)


class Build:
    """A graph with states and what they hold at first."""

    def __init__(self) -> None:
        self.graph = Graph("states")
        self.held: dict[str, np.ndarray] = {}
        self._rng = np.random.default_rng(3)

    def state(self, name: str, *shape: int) -> Tensor:
        self.held[name] = self._rng.standard_normal(shape).astype(F32)
        return Tensor(self.graph, self.graph.state(name, shape, F32))

    def update(self, **values: Tensor) -> None:
        for name, value in values.items():
            self.graph.update(name, value.value)


def check_runs(
    build: Build, device: Device, feeds: dict[str, np.ndarray] | None = None, disable: tuple[str, ...] = ()
) -> Program:
    """Three runs give what the references give, in the outputs and in the states."""
    feeds = feeds or {}
    held, states = dict(build.held), States(device)
    wanted = []
    for _ in range(3):
        results = evaluate(build.graph, {**feeds, **held})
        held.update({state: results.pop(output) for output, state in build.graph.aliases.items()})
        wanted.append((results, dict(held)))
    for name, array in build.held.items():
        states.allocate(name, array)
    program = Program(build.graph, device, states, disable=disable)
    for results, after in wanted:
        got = program.run(feeds)
        assert got.keys() == results.keys()
        for name, array in results.items():
            np.testing.assert_allclose(got[name], array, rtol=2e-5, atol=2e-5, err_msg=name)
        for name, array in after.items():
            np.testing.assert_allclose(states.read(name), array, rtol=2e-5, atol=2e-5, err_msg=name)
    return program


def in_place(graph: Graph) -> set[str]:
    return set(order_updates(graph).in_place.values())


def test_updates_in_place(device: Device) -> None:
    """All other readers run first, wherever they stand in the graph; several updates may read each other's states."""
    b = Build()
    x = Tensor(b.graph, b.graph.input("x", (6, 40), F32))
    w, m, alone = b.state("w", 40 * 8), b.state("m", 40 * 8), b.state("alone", 5)
    moved = m * 0.5 + w
    b.update(w=w - moved * 0.1, m=moved)
    b.update(alone=alone * 2.0 + 1.0)
    b.graph.output("y", (x @ w.reshape((40, 8))).value)
    b.graph.output("before", w.slice((8,), (100,)).value)
    b.graph.output("doubled", b.graph.outputs["m" + UPDATED])
    assert in_place(b.graph) == {"w", "m", "alone"}
    program = check_runs(b, device, {"x": np.random.default_rng(1).standard_normal((6, 40)).astype(F32)})
    assert in_place(program.plan.graph) == {"w", "m", "alone"}


def test_updates_elsewhere(device: Device) -> None:
    """Exchanged and transposed states; updates whose node, or whose reader, needs old contents at other places."""
    b = Build()
    p, q = b.state("p", 4, 4), b.state("q", 4, 4)
    b.update(p=q, q=p)
    turned, same, part = b.state("turned", 3, 3), b.state("same", 7), b.state("part", 6)
    b.update(turned=turned.transpose((1, 0)), same=same)
    b.update(part=part + part.slice((5,), (6,), (-1,)))
    r, *_ = b.state("r", 8), b.state("s", 8), b.state("copied", 8)
    later = r * 2.0
    b.update(r=later, s=later, copied=r)
    both = b.state("both", 8)
    after = both + 1.0
    b.update(both=after)
    b.graph.output("y", (after * both.slice((7,), (8,), (-1,))).value)
    b.graph.output("old", p.value)
    one = b.state("one", 2)
    b.update(one=one.filled(3.0))
    b.state("unchanged", 2)
    assert in_place(b.graph) == {"r"}
    check_runs(b, device)


def random_build(seed: int) -> Build:
    """Sums of each other's results, turned, flipped and reduced; some are updates, some outputs."""
    rng, b = np.random.default_rng(seed), Build()
    values = [b.state(f"s{i}", 4, 4) for i in range(rng.integers(1, 5))]
    for _ in range(rng.integers(3, 14)):
        x, y = (values[rng.integers(len(values))] for _ in range(2))
        x = values[-1] if rng.random() < 0.4 else x
        values.append([
            x + y, x * 0.5 + y, x.transpose((1, 0)), x.slice((3, 0), (4, 4), (-1, 1)), x.reshape((16,)).reshape((4, 4)),
            x.sum((0,), keepdims=True) + y,
        ][rng.integers(6)])  # fmt: skip
    for name in b.held:
        b.update(**{name: values[-1 - rng.integers(len(values))]})
    b.graph.output("y", values[rng.integers(len(values))].value)
    return b


def test_updates_of_random_graphs(device: Device) -> None:
    places = 0
    for seed in range(40):
        b = random_build(seed)
        places += len(in_place(b.graph))
        check_runs(b, device, disable=tuple(PASSES))
    assert places > 20


def test_a_cycle_of_updates_is_broken() -> None:
    b = Build()
    p, q = b.state("p", 8), b.state("q", 8)
    b.update(p=p + q.slice((7,), (8,), (-1,)), q=q + p.slice((7,), (8,), (-1,)))
    assert in_place(b.graph) == {"p"}  # q's old contents are needed for it: q is computed elsewhere


def test_mistakes_are_said(device: Device) -> None:
    b = Build()
    w = b.state("w", 3)
    x = Tensor(b.graph, b.graph.input("x", (3,), F32))
    with pytest.raises(GraphError, match="'x' is no state"):
        b.update(x=x)
    with pytest.raises(GraphError, match="'w' is float32"):
        b.update(w=w.slice((0,), (2,)))
    b.update(w=w + x)
    with pytest.raises(GraphError, match="twice"):
        b.update(w=w)
    states = States(device)
    with pytest.raises(InputError, match="'w' has no memory"):
        Program(b.graph, device, states)
    states.allocate("w", np.zeros(3, np.float64))
    with pytest.raises(InputError, match="'w' is float64"):
        Program(b.graph, device, states)
    with pytest.raises(InputError, match="already"):
        states.allocate("w", np.zeros(3, F32))
    with pytest.raises(InputError, match="no state 'v'"):
        states.read("v")
    with pytest.raises(InputError, match="not float32"):
        states.write("w", np.zeros(3, F32))
    states = States(device)
    states.allocate("w", np.arange(3, dtype=F32))
    program = Program(b.graph, device, states)
    with pytest.raises(InputError, match="'x' is missing"):
        program.run({})
    with pytest.raises(InputError, match="no input 'w'"):
        program.run({"x": np.zeros(3, F32), "w": np.zeros(3, F32)})
    assert program.run({"x": np.ones(3, F32)}) == {}
    np.testing.assert_array_equal(states.read("w"), [1, 2, 3])
    states.write("w", np.zeros(3, F32))
    program.run({"x": np.ones(3, F32)})
    np.testing.assert_array_equal(states.read("w"), 1)
    assert states.names == ("w",) and states.nbytes == 12 and program.memory().states == 12


def test_gradients_are_written_into_the_flat_one(device: Device) -> None:
    """Reshaped products, reductions and elementwise results are parts of a concatenation where they are made."""
    b = Build()
    unit = States(device).alignment // 4
    x = Tensor(b.graph, b.graph.input("x", (6, unit), F32))
    flat = b.state("flat", unit * 8 + 2 * unit)
    product = x.transpose((1, 0)) @ x.slice((0, 0), (6, 8))
    pieces = [product.reshape((unit * 8,)), (x * x).sum((0,)), x.slice((1, 0), (1, unit)).exp().reshape((unit,))]
    gradient = pieces[0].op("concat", *pieces[1:], axis=0)
    b.update(flat=flat - gradient * 0.1)
    program = check_runs(b, device, {"x": np.random.default_rng(1).standard_normal((6, unit)).astype(F32)})
    assert [n.op for n in program.plan.graph.nodes].count("concat") == 1
    assert not [x for x in program.plan.launches if x.op == "concat"]


def test_programs_share_states(device: Device) -> None:
    """As the last batch of an epoch does, which is smaller."""
    states = States(device)
    states.allocate("sum", np.zeros(4, F32))

    def program(batch: int) -> Program:
        g = Graph("sum")
        held, x = Tensor(g, g.state("sum", (4,), F32)), Tensor(g, g.input("x", (batch, 4), F32))
        g.update("sum", (held + x.sum((0,))).value)
        return Program(g, device, states)

    large, small = program(5), program(2)
    for each, batch in ((large, 5), (small, 2), (large, 5)):
        each.run({"x": np.ones((batch, 4), F32)})
    np.testing.assert_array_equal(states.read("sum"), 12)


def test_reads_see_what_is_not_updated_yet() -> None:
    """The order of nodes: what reads the old contents comes before the update that overwrites them."""
    b = Build()
    w = b.state("w", 8)
    updated = w * 0.5
    b.update(w=updated)
    late = w.slice((0,), (4,)).exp()
    b.graph.output("late", late.value)
    b.graph.output("sum", updated.sum().value)
    order = order_updates(b.graph)
    places: dict[int, int] = {id(n): i for i, n in enumerate([*order.early, *order.late])}

    def place(value: Value) -> int:
        assert value.producer is not None
        return places[id(value.producer)]

    assert place(late.value) < place(updated.value) < place(b.graph.outputs["sum"])
    assert len(places) == len(b.graph.nodes)
