"""Programs: whole training steps on each device, and activations that are computed again under a memory limit."""

from __future__ import annotations

import numpy as np
import pytest

from a1400.backends.base import Device
from a1400.engine.program import Program, States, Weights
from a1400.engine.updates import order_updates
from a1400.errors import DeviceMemoryError
from tests.engine.training import Step, batches, mlp_step


def loaded(step: Step, device: Device) -> States:
    states = States(device)
    for name, array in step.held.items():
        states.allocate(name, array)
    return states


def check_training(device: Device) -> Program:
    """Five steps as the references make them."""
    states = States(device)
    unit = states.alignment // 4
    step, data = mlp_step(unit), batches(5)
    losses, held = step.expected(data)
    states = loaded(step, device)
    program = Program(step.graph, device, states)
    got = [program.run(feeds) for feeds in data]
    np.testing.assert_allclose([float(g["loss"]) for g in got], losses, rtol=2e-5)
    for name, array in held.items():
        np.testing.assert_allclose(states.read(name), array, rtol=1e-4, atol=1e-6, err_msg=name)
    assert losses[-1] != losses[0] and float(held["step"]) == 5
    assert set(order_updates(program.plan.graph).in_place.values()) == {"parameters", "velocity", "step"}
    # only the zeros between the gradients are copied
    assert len([x for x in program.plan.launches if x.op == "concat"]) == step.gaps
    return program


def test_training_step(device: Device) -> None:
    check_training(device)


def test_twice_gives_the_same_bits(device: Device) -> None:
    ends = []
    for _ in range(2):
        step = mlp_step(16)
        states = loaded(step, device)
        program = Program(step.graph, device, states)
        for feeds in batches(3):
            program.run(feeds)
        ends.append(states.read("parameters"))
    assert ends[0].tobytes() == ends[1].tobytes()


def test_a_memory_limit_is_kept(device: Device) -> None:
    weights, data = Weights(device), batches(3, 256)
    ends, needs = [], []
    limit: int | None = None
    for _ in range(2):
        step = mlp_step(16, batch=256, hidden_layers=6)
        states = loaded(step, device)
        program = Program(step.graph, device, states, weights=weights, memory_limit=limit)
        losses = [program.run(feeds)["loss"].tobytes() for feeds in data]
        ends.append((losses, states.read("parameters").tobytes(), states.read("velocity").tobytes()))
        memory = program.memory()
        needs.append(memory.arena + memory.weights + memory.states)
        if limit is not None:
            assert program.plan.report.count("recomputation") > 0 and needs[-1] <= limit
        limit = needs[0] - memory.arena // 5
    assert ends[0] == ends[1]
    step = mlp_step(16, batch=256, hidden_layers=6)
    with pytest.raises(DeviceMemoryError, match="of states"):
        Program(step.graph, device, loaded(step, device), memory_limit=needs[0] // 4)
