"""``a1400 explain`` and ``a1400 bench``."""

from __future__ import annotations

import json

import numpy as np

from a1400.cli import bench, turns


def test_explain_prepares_the_shapes_asked_for(cli, fake, model):
    result = cli("explain", model, "--dim", "batch=4")
    assert result.exit_code == 0, result.stderr
    assert "launches: 3" in result.stdout and "arena: 1024" in result.stdout
    assert np.shape(fake.prepared[0]["image"]) == (4, 1, 8, 8)


def test_explain_json(cli, fake, model):
    document = json.loads(cli("explain", model, "--json").stdout)
    assert document["explanation"] == {"launches": 3, "host_nodes": 0}
    assert document["memory"] == {"arena": 1024, "naive": 4096}
    assert document["inputs"] == {"image": {"shape": [1, 1, 8, 8], "dtype": "float32"}}


def test_bench_measures_without_a_peer(cli, fake, model):
    """The file is no ONNX model, so ONNX Runtime refuses it: that is a note, and a1400's figures still come."""
    result = cli("bench", model, "--rounds", 3, "--no-start", "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["speed"]["a1400"]["runs"] == 3 and list(document["speed"]) == ["a1400"]
    assert any("ONNX Runtime" in text for text in document["notes"])
    text = cli("bench", model, "--rounds", 3, "--no-start").stdout
    assert "median" in text and "a1400" in text


def test_engines_take_turns(monkeypatch):
    """A slow engine runs once a turn; a rest comes before every turn of two engines; the order alternates."""
    order, rests = [], []
    monkeypatch.setattr(turns.time, "sleep", rests.append)
    monkeypatch.setattr(turns, "TURN", 0.0)
    engines = {name: (lambda name=name: order.append(name)) for name in ("a", "b")}
    speeds = turns.measure(engines, seconds=0.1, rounds=4)
    assert order[4:] == ["a", "b", "b", "a", "a", "b", "b", "a"]  # after two rounds of warm-up
    assert rests == [turns.REST] * 8
    assert {name: speed.runs for name, speed in speeds.items()} == {"a": 4, "b": 4}
    assert speeds["a"].best <= speeds["a"].low_quartile <= speeds["a"].median <= speeds["a"].high_quartile


def test_a_fast_engine_runs_often_in_a_turn(monkeypatch):
    order = []
    monkeypatch.setattr(turns, "REST", 0.0)
    monkeypatch.setattr(turns, "TURN", 1e9)
    engines = {name: (lambda name=name: order.append(name)) for name in ("a", "b")}
    turns.measure(engines, seconds=0.1, rounds=3)
    assert order[4:] == ["a"] * 3 + ["b"] * 3


def test_one_engine_needs_no_rest(monkeypatch):
    monkeypatch.setattr(turns, "REST", 1e6)
    assert turns.measure({"a": lambda: None}, seconds=0.0, rounds=None)["a"].runs == 5


def test_differences():
    ours = np.array([1, 2, np.nan, np.inf], np.float32)
    assert bench.difference("y", ours, np.array([1, 2.5, np.nan, np.inf], np.float32)) == bench.Difference(
        "y", 0.5, 0.2
    )
    assert bench.difference("y", ours, ours[:2]).relative is None
    assert bench.difference("y", ours, np.zeros(4, np.float32)).largest == np.inf
    assert bench.difference("y", ours[:0], ours[:0]) == bench.Difference("y", 0.0, 0.0)


def test_precision_reaches_load(cli, fake, model):
    for command in ("explain", "bench"):
        fake.loaded = {}
        options = ["--rounds", 1, "--no-start"] if command == "bench" else []
        assert cli(command, model, "--precision", "fp16", *options).exit_code == 0
        assert fake.loaded["precision"] == "fp16"
