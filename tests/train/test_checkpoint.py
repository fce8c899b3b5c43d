"""Checkpoint files: nothing is lost in them, and nothing else is taken for one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from a1400.errors import CheckpointError
from a1400.train import files
from a1400.train.checkpoint import Checkpoint, join, read_checkpoint, separate, write_checkpoint


def example() -> Checkpoint:
    tensors = {
        "parameter/w": np.arange(6, dtype=np.float32).reshape(2, 3), "parameter/empty": np.zeros((0, 4), np.float32),
        "buffer/h": np.array([1.5, -2], ml_dtypes.bfloat16), "random/state": np.array([1, 2**32 - 1], np.uint32),
    }  # fmt: skip
    return Checkpoint(tensors, {"epoch": 3, "rate": 0.1 + 0.2, "worst": float("inf"), "history": {"loss": [1 / 3]}})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    write_checkpoint(path, example())
    found = read_checkpoint(path)
    assert found.state == example().state
    assert set(found.part("parameter")) == {"empty", "w"}
    for name, array in example().tensors.items():
        assert found.tensors[name].dtype == array.dtype and found.tensors[name].shape == array.shape
        np.testing.assert_array_equal(found.tensors[name], array)
    assert os.listdir(tmp_path) == ["run.safetensors"]


def test_nested_values_go_through_json_with_their_arrays() -> None:
    value = {"best": np.float64(0.1), "weights": {"a/b": np.ones((2, 2), np.float32)}, "rows": [1, None, (2, "x")]}
    tensors: dict[str, np.ndarray] = {"there": np.zeros(1)}
    plain = json.loads(json.dumps(separate(value, "callback", tensors)))
    back = join(plain, tensors)
    assert back["best"] == 0.1 and back["rows"] == [1, None, [2, "x"]] and len(tensors) == 2
    np.testing.assert_array_equal(back["weights"]["a/b"], np.ones((2, 2)))


@pytest.mark.parametrize("cut", [0, 7, 100, -1])
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "run.safetensors"
    write_checkpoint(path, example())
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CheckpointError, match="no checkpoint, or is damaged"):
        read_checkpoint(path)


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    write_checkpoint(path, example())
    data = bytearray(path.read_bytes())
    data[-3] ^= 4
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="not what was written"):
        read_checkpoint(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        read_checkpoint(tmp_path / "nothing")
    foreign = tmp_path / "foreign.safetensors"
    save_file({"w": np.zeros(3, np.float32)}, foreign)
    with pytest.raises(CheckpointError, match="no checkpoint of a1400"):
        read_checkpoint(foreign)
    later = json.dumps({"format": 99, "state": {}, "dtypes": {}, "digest": ""})
    save_file({"w": np.zeros(3, np.float32)}, foreign, {"a1400": later})
    with pytest.raises(CheckpointError, match="has format 99, this version reads 1"):
        read_checkpoint(foreign)
    save_file({"w": np.zeros(3, np.float32)}, foreign, {"a1400": "{"})
    with pytest.raises(CheckpointError, match="metadata cannot be read"):
        read_checkpoint(foreign)


def test_the_old_file_stays_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.safetensors"
    write_checkpoint(path, example())
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"cannot be written: .*No space left"):
        write_checkpoint(path, Checkpoint({}, {}))
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["run.safetensors"]
