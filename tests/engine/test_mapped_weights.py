"""Weights that a plan uses where they lie in the model's file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

import a1400
from a1400.backends.base import Device, DeviceInfo
from a1400.errors import ModelFileError
from tests.frontends.building import f32, model_of

TABLE = f32(500, 16)
IDS = np.arange(5)


def _written(folder: Path) -> Path:
    """A model that looks rows of :data:`TABLE` up; the table lies so that no driver needs a copy of it."""
    model = model_of([helper.make_node("Gather", ["w", "x"], ["y"])], {"x": IDS}, {"w": TABLE}, ["y"])
    model.producer_name = "p" * 128
    model.producer_name += "p" * (-model.SerializeToString().find(TABLE.tobytes()) % 64)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_a_table_written_to_is_noticed(tmp_path: Path, device_info: DeviceInfo, device: Device) -> None:
    path = _written(tmp_path)
    model = a1400.load(path, device=device_info.id)
    assert np.array_equal(model.run({"x": IDS})["y"], TABLE[:5])
    path.write_bytes(bytes(path.stat().st_size))
    os.utime(path, ns=(1, 1))
    if not device.shares_memory:  # it has a copy
        assert np.array_equal(model.run({"x": IDS})["y"], TABLE[:5])
        return
    with pytest.raises(ModelFileError, match="was changed after it was loaded"):
        model.run({"x": IDS})


def test_a_table_replaced_does_not_matter(tmp_path: Path, device_info: DeviceInfo) -> None:
    path, new = _written(tmp_path), tmp_path / "new"
    model = a1400.load(path, device=device_info.id)
    new.write_bytes(bytes(path.stat().st_size))
    new.rename(path)
    for _ in range(2):
        assert np.array_equal(model.run({"x": IDS})["y"], TABLE[:5])
    path.unlink()
    assert np.array_equal(model.run({"x": IDS})["y"], TABLE[:5])
