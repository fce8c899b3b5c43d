"""The training benchmark: every engine gets the same network, and the report says what is met and what is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import a1400
from benchmarks.train_parts import keras_networks, opening, own_networks, report, tasks, torch_networks
from tests.train import standin


@pytest.mark.parametrize("name", tasks.TASKS)
def test_keras_pytorch_and_the_trainer_have_the_same_network(
    name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    task = tasks.TASKS[name]
    tasks.write(task, tmp_path / "task.npz")
    with np.load(tmp_path / "task.npz") as archive:
        x, y, weights = tasks.read(dict(archive))
    model = keras_networks.build(name, weights)
    assert len(weights) == len(model.weights)
    wanted = model(x[:2]).detach().numpy()
    found = torch_networks.build(name, weights)(torch.from_numpy(x[:2])).detach()
    found = (found.transpose(1, 2) if name == "transformer" else found).numpy()
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()
    assert y.max() < wanted.shape[-1] and len(y) == len(x)
    standin.use(monkeypatch)
    ours = a1400.Trainer(own_networks.build(name, weights)).predict(x[:2])
    assert np.abs(ours - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_the_first_run_makes_three_steps() -> None:
    losses = iter(range(10))
    steps = opening.Steps(lambda: float(next(losses)))
    assert [run.tolist() for run in (steps()[0], steps()[0], steps()[0])] == [[0, 1, 2], [3], [4]]


def row(ours: float, **peers: float) -> dict[str, Any]:
    others = {name.replace("_", "-"): seconds for name, seconds in peers.items()}
    times = {"a1400-trainer": ours, "a1400-intel": ours, **others}
    cells: dict[str, dict[str, Any]] = {
        name: {"median": t, "low": t, "high": t, "gflops": 1 / t, "peak_memory": 100 * (1 + i),
               "ratios": {other: u / t for other, u in times.items() if other != name}}
        for i, (name, t) in enumerate(times.items())
    }  # fmt: skip
    return {"title": "net", "flops": 1e9, "engines": cells}


def test_goals_name_the_fastest_peer() -> None:
    document = report.finish({"tasks": {"one": row(1.0, torch=1.4, torch_compile=0.9)}})
    assert [goal.rpartition(": ")[2] for goal in document["goals"]] == ["**not met**", "**not met**", "met"]
    assert "torch.compile" in document["goals"][0] and "0.90x" in document["goals"][0]
    assert "a1400.Trainer" in document["goals"][2] and "0.33x" in document["goals"][2]  # the base is third in the row
    assert report.finish({"tasks": {"one": row(1.0, torch=1.6)}})["goals"][1].endswith("1.60x: met")


def test_a_failure_is_told() -> None:
    document: dict[str, Any] = {"tasks": {"one": row(1.0, torch=1.6)}, "facts": {
        "device": "cpu", "threads": 2, "date": "today", "versions": {"torch": "2"}}}  # fmt: skip
    document["tasks"]["one"]["engines"]["torch"] = {"failure": "wrong answer"}
    text = report.markdown(report.finish(document))
    assert "| PyTorch eager | failed |" in text and "net: PyTorch eager: wrong answer" in text
    del document["tasks"]["one"]["engines"]["a1400-intel"]
    assert "a1400 was not measured" in report.markdown(report.finish(document))
