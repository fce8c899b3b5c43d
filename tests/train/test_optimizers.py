"""Optimizers: 20 steps equal Keras's, one launch makes each of them, and steps with infinite gradients are skipped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from a1400.backends.base import Device
from a1400.engine.program import Program
from a1400.engine.states import States
from a1400.errors import InputError
from a1400.graph.graph import Graph, evaluate
from a1400.graph.tensor import Tensor
from a1400.optimizer import optimize
from a1400.train import optimizers, schedules
from a1400.train.loss_scale import LossScale
from a1400.train.optimizers import Optimizer
from tests.train.reference import array, keras

CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "clipvalue": 0.5}),
    ("Adam", {"learning_rate": 0.01}),
    ("Adam", {"amsgrad": True, "epsilon": 1e-3, "global_clipnorm": 2.0, "weight_decay": 0.1}),
    ("Adam", {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 3}),
    ("AdamW", {"learning_rate": 0.02}),
    ("Adamax", {"learning_rate": 0.02}),
    ("Nadam", {"learning_rate": 0.01, "clipnorm": 1.5}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.9, "centered": True, "rho": 0.8}),
    ("Adagrad", {"learning_rate": 0.1}),
    ("Adadelta", {"learning_rate": 1.0}),
    ("Ftrl", {"learning_rate": 0.1, "l1_regularization_strength": 0.01, "l2_regularization_strength": 0.02}),
    ("Ftrl", {"l2_shrinkage_regularization_strength": 0.1, "beta": 0.3, "learning_rate_power": -0.7}),
    ("Lion", {"learning_rate": 0.01, "weight_decay": 0.05}),
]
SHAPES = ((5, 4), (7,))


def _graph(optimizer: Optimizer, count: int, in_place: bool = False) -> Graph:
    """A step over ``count`` parameters in one flat array, as the trainer writes it; ``in_place``: of states."""
    graph = Graph("step")
    f32 = np.dtype(np.float32)
    places = [int(np.prod(SHAPES[i])) for i in range(count)]
    flat = (sum(places),)
    gradients = [Tensor(graph, graph.input(f"g{i}", (n,), f32)) for i, n in enumerate(places)]
    gradients = optimizer.clip_each(gradients)
    gradient = gradients[0].op("concat", *gradients[1:], axis=0) if count > 1 else gradients[0]
    memory = graph.state if in_place else graph.input
    p = Tensor(graph, memory("p", flat, f32))
    slots = {n: Tensor(graph, memory(n, flat, f32)) for n in optimizer.slots}
    hyper = Tensor(graph, graph.input("hyper", (optimizer.hyper_size,), f32))
    new, updated = optimizer.update(p, gradient, slots, hyper, optimizer.global_factor([gradient]))
    assert set(updated) == set(slots) and all(v.shape == flat and v.dtype == f32 for v in (new, *updated.values()))
    for name, value in {"p": new, **updated}.items():
        if in_place:
            graph.update(name, value.value)
        else:
            graph.output(f"{name}.next", value.value)
    return graph


@pytest.mark.parametrize(("name", "config"), CASES, ids=[f"{n}-{'-'.join(c)}" for n, c in CASES])
def test_twenty_steps_are_those_of_keras(name: str, config: dict[str, Any]) -> None:
    rng = np.random.default_rng(3)
    theirs = getattr(keras.optimizers, name)(**config)
    weights = [rng.standard_normal(shape).astype(np.float32) for shape in SHAPES]
    variables = [keras.Variable(w) for w in weights]
    ours = optimizers.from_name(name, **config)
    state = {"p": np.concatenate([w.reshape(-1) for w in weights])}
    state |= {n: np.full(state["p"].shape, fill, np.float32) for n, fill in ours.slots.items()}
    graph = _graph(ours, len(SHAPES))
    for step in range(20):
        given = [(rng.standard_normal(s) * rng.choice([0.1, 1, 3])).astype(np.float32) for s in SHAPES]
        theirs.apply([keras.ops.convert_to_tensor(g) for g in given], variables)
        feeds = {f"g{i}": g.reshape(-1) for i, g in enumerate(given)}
        made = evaluate(graph, {**state, **feeds, "hyper": ours.hyper(step)})
        state = {n: made[f"{n}.next"] for n in state}
        want = np.concatenate([array(v.value).reshape(-1) for v in variables])
        np.testing.assert_allclose(state["p"], want, rtol=1e-6, atol=1e-6 * np.abs(want).max(), err_msg=str(step))


@pytest.mark.parametrize(("name", "config"), CASES, ids=[f"{n}-{'-'.join(c)}" for n, c in CASES])
def test_a_step_is_one_node(name: str, config: dict[str, Any]) -> None:
    optimizer = optimizers.from_name(name, **{k: v for k, v in config.items() if "norm" not in k})
    graph = _graph(optimizer, 1)
    optimize(graph)
    nodes = [n for n in graph.nodes if n.op != "slice" and n.output.size > 1]
    limit = 1 if not config.get("use_ema") else 2
    assert len(nodes) <= limit and all(n.op == "pointwise" for n in nodes), str(graph)


def test_steps_on_the_device_are_made_in_place(device: Device) -> None:
    optimizer = optimizers.Adam(0.01, amsgrad=True, weight_decay=0.01, global_clipnorm=1.0)
    rng = np.random.default_rng(5)
    graph, states = _graph(optimizer, 2), States(device)
    values = {n: np.abs(rng.standard_normal(27)).astype(np.float32) for n in ("p", *optimizer.slots)}
    for name, value in values.items():
        states.allocate(name, value)
    program = Program(_graph(optimizer, 2, in_place=True), device, states)
    for step in range(3):
        feeds = {f"g{i}": rng.standard_normal(n).astype(np.float32) for i, n in enumerate((20, 7))}
        feeds["hyper"] = optimizer.hyper(step)
        made = evaluate(graph, {**values, **feeds})
        values = {n: made[f"{n}.next"] for n in values}
        assert not program.run(feeds)
        for name, value in values.items():
            np.testing.assert_allclose(states.read(name), value, rtol=3e-6, atol=1e-6, err_msg=name)
    (step_launch,) = (launch.call for launch in program.plan.launches if launch.call.spec.name == "pointwise_1x4")
    assert all(ref.storage.kind == "state" for ref in step_launch.buffers.values())


def test_rates_and_errors() -> None:
    made = optimizers.from_name("adam", learning_rate=schedules.ExponentialDecay(0.1, 1, 0.5))
    assert [made.rate(step) for step in range(3)] == [0.1, 0.05, 0.025]
    made.learning_rate = 0.7
    assert made.rate(9) == 0.7
    with pytest.raises(InputError, match="no optimizer"):
        optimizers.from_name("adamm")
    with pytest.raises(InputError, match="only one of"):
        optimizers.SGD(clipnorm=1.0, clipvalue=1.0)


def test_loss_scale() -> None:
    scale, sgd = LossScale(8.0, dynamic_growth_steps=2), optimizers.SGD(1.0, momentum=0.5)
    graph = Graph("scaled")
    f32 = np.dtype(np.float32)
    p, g, m = (Tensor(graph, graph.input(n, (3,), f32)) for n in "pgm")
    state, hyper = (Tensor(graph, graph.input(n, s, f32)) for n, s in (("scale", (2,)), ("hyper", (1,))))
    finite = scale.is_finite([g])
    new, slots = sgd.update(p, g, {"momentum": m}, hyper, scale.factor(state), finite=finite)
    for name, value in (("p", new), ("m", slots["momentum"]), ("scale", scale.next(state, finite))):
        graph.output(f"{name}.next", value.value)
    values = {"p": np.ones(3, np.float32), "m": np.zeros(3, np.float32), "scale": scale.initial_state()}
    seen = []
    for gradient in (8.0, np.inf, 4.0, 4.0, np.nan, 8.0):
        feeds = {**values, "hyper": sgd.hyper(0), "g": np.array([gradient, 0.0, 0.0], np.float32)}
        made = evaluate(graph, feeds)
        values = {n: made[f"{n}.next"] for n in values}
        seen.append((float(values["p"][0]), *values["scale"].tolist()))
    assert [s[1:] for s in seen] == [(8, 1), (4, 0), (4, 1), (8, 0), (4, 0), (4, 1)]
    # steps of 1, none, 1 + 1/2, 1 + 3/4, none, 2 + 7/8
    assert [s[0] for s in seen] == [0.0, 0.0, -1.5, -3.25, -3.25, -6.125]
