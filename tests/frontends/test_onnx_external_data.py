"""Weights beside the model: mapped, and never from outside the model's folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from a1400.errors import ModelFileError
from a1400.frontends.onnx import load_onnx
from a1400.graph.graph import evaluate
from tests.frontends.building import f32, model_of

W = f32(40, 30)


def _model(**entries: str) -> onnx.ModelProto:
    """y = x w, with w in an external file described by ``entries``."""
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    model = model_of([node], {"x": f32(2, 40)}, {"w": W}, ["y"])
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return model


def _save(folder: Path, **entries: str) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(_model(**entries).SerializeToString())
    return path


def test_offset_and_length(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "w.bin").write_bytes(b"\1" * 64 + W.tobytes() + b"\2" * 10)
    model = load_onnx(_save(tmp_path, location="weights/w.bin", offset="64", length=str(W.nbytes)))
    graph = model.graph({"x": (2, 40)})
    (weights,) = graph.constants()
    np.testing.assert_array_equal(weights.data, W)
    base = weights.data
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base, np.memmap), "the file is mapped, not read"
    np.testing.assert_allclose(evaluate(graph, {"x": f32(2, 40)})["y"], f32(2, 40) @ W, rtol=1e-5, atol=1e-5)


def test_unaligned_offset(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"\1" * 3 + W.tobytes())
    (weights,) = load_onnx(_save(tmp_path, location="w.bin", offset="3")).graph({"x": (2, 40)}).constants()
    np.testing.assert_array_equal(weights.data, W)


def test_saved_by_onnx(tmp_path: Path) -> None:
    path = tmp_path / "big.onnx"
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    model = model_of([node], {"x": f32(2, 40)}, {"w": W}, ["y"])
    onnx.save_model(model, str(path), save_as_external_data=True, location="big.data", size_threshold=0)
    (weights,) = load_onnx(path).graph({"x": (2, 40)}).constants()
    np.testing.assert_array_equal(weights.data, W)


@pytest.mark.parametrize(
    "location",
    [
        "../secret.bin",
        "/etc/passwd",
        "a/../../secret.bin",
        "C:\\secret.bin",
        "\\\\host\\share",
        "..\\secret.bin",
        "",
        "a\0b",
    ],
)
def test_locations_outside_the_folder(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    (folder / "a").mkdir(parents=True)
    (tmp_path / "secret.bin").write_bytes(W.tobytes())
    with pytest.raises(ModelFileError, match="not a path inside"):
        load_onnx(_save(folder, location=location))


def test_links_that_leave_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(W.tobytes())
    (folder / "w.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(ModelFileError, match="leaves the model's folder"):
        load_onnx(_save(folder, location="w.bin"))
    (folder / "inside").symlink_to(tmp_path)
    with pytest.raises(ModelFileError, match="leaves the model's folder"):
        load_onnx(_save(folder, location="inside/secret.bin"))


def test_links_within_the_folder_are_fine(tmp_path: Path) -> None:
    (tmp_path / "real.bin").write_bytes(W.tobytes())
    (tmp_path / "w.bin").symlink_to("real.bin")
    load_onnx(_save(tmp_path, location="w.bin"))


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ({"offset": "1"}, "outside"),
        ({"offset": "99999999999"}, "outside"),
        ({"offset": "-4"}, "not a number"),
        ({"offset": "many"}, "not a number"),
        ({"offset": "9" * 40}, "not a number"),
        ({"length": "4"}, "need 4800"),
        ({"length": "99999999"}, "need 4800"),
    ],
)
def test_ranges_outside_the_file(tmp_path: Path, entries: dict[str, str], text: str) -> None:
    (tmp_path / "w.bin").write_bytes(W.tobytes())
    with pytest.raises(ModelFileError, match=text):
        load_onnx(_save(tmp_path, location="w.bin", **entries))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="missing"):
        load_onnx(_save(tmp_path, location="absent.bin"))
    (tmp_path / "folder.bin").mkdir()
    with pytest.raises(ModelFileError, match="regular file"):
        load_onnx(_save(tmp_path, location="folder.bin"))
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.bin")
        with pytest.raises(ModelFileError, match="regular file"):
            load_onnx(_save(tmp_path, location="pipe.bin"))
    (tmp_path / "empty.bin").write_bytes(b"")
    with pytest.raises(ModelFileError, match="outside"):
        load_onnx(_save(tmp_path, location="empty.bin"))
    with pytest.raises(ModelFileError, match=r"loop|cannot read"):
        (tmp_path / "circle.bin").symlink_to("circle.bin")
        load_onnx(_save(tmp_path, location="circle.bin"))


def test_from_memory_there_is_no_folder() -> None:
    with pytest.raises(ModelFileError, match="load the model from its path"):
        load_onnx(_model(location="w.bin").SerializeToString())
