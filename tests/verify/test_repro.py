"""Repro files: what is written is read back whole, and a hostile file is refused with a sentence."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from a1400 import dtypes
from a1400.backends.base import TensorMap
from a1400.errors import InputError
from a1400.kernels.launches import HostBuffer, LaunchData
from a1400.verify import repro
from a1400.verify.results import FAIL, Result
from tests.cli.fakes import DEVICE


def made() -> repro.Repro:
    """One of every kind of argument."""
    rng = np.random.default_rng(0)
    x = HostBuffer("x", "in", rng.standard_normal((3, 5)).astype(dtypes.bfloat16))
    y = HostBuffer("y", "out", np.zeros((4,), np.float32))
    z = HostBuffer("z", "inout", np.array([True, False, True]))
    box = TensorMap(x, np.dtype(dtypes.bfloat16), (5, 3), (10,), (5, 1), 128, 16)
    scalars = [np.int32(-7), np.float32(0.1), np.float32("-inf"), np.uint32(2**32 - 1), np.float64(1e-300)]
    arguments = [x, y, *scalars, z, box]
    launch = LaunchData("k/v", "opencl", "k", "source\n", (1, 2, 3), (4, 1, 1), arguments, 99, ("-DA=1",))
    expected = {"y": np.array([1.5, np.nan, np.inf, 0]), "z": z.array}
    return repro.Repro(launch, "close", 10, expected, {"y": (1e-5, 1e-6), "z": (0.0, 0.0)}, {"kernel": "k"})


RESULT = Result("../../etc/pass wd", "v", "case \0 1", "close", FAIL, message="wrong")


def content() -> dict[str, Any]:
    """The file's content after a trip through JSON text."""
    return json.loads(json.dumps(repro.document(made(), RESULT, DEVICE, "1.0")))


def test_round_trip() -> None:
    before, after = made(), repro.parse(content())
    for a, b in zip(before.launch.arguments, after.launch.arguments, strict=True):
        if isinstance(a, HostBuffer):
            assert isinstance(b, HostBuffer) and (a.name, a.role) == (b.name, b.role)
            assert a.array.dtype == b.array.dtype and a.array.tobytes() == b.array.tobytes()
        elif isinstance(a, TensorMap):
            assert isinstance(b, TensorMap) and b.buffer is after.launch.arguments[0]
            assert (a.dims, a.strides, a.box, a.swizzle, a.offset) == (b.dims, b.strides, b.box, b.swizzle, b.offset)
        else:
            assert type(a) is type(b) and (a == b)
    same = ("name", "language", "entry", "source", "groups", "group_size", "local_bytes", "options")
    assert all(getattr(before.launch, name) == getattr(after.launch, name) for name in same)
    np.testing.assert_array_equal(before.expected["y"], after.expected["y"])
    assert after.tolerance["y"] == (1e-5, 1e-6) and after.mode == "close"


def test_file_names_are_safe(tmp_path: Path) -> None:
    path = Path(repro.write(tmp_path / "new", DEVICE, RESULT, content()))
    assert path.parent == tmp_path / "new" and path.is_file()
    assert not set(path.name) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")
    assert repro.file_name(DEVICE, RESULT) == path.name
    assert repro.file_name(DEVICE, Result(**{**vars(RESULT), "case": "case 2"})) != path.name


def _set(*keys: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        for key in keys[:-1]:
            data = data[key]
        data[keys[-1]] = to

    return change


BOMB = base64.b64encode(zlib.compress(bytes(1 << 24))).decode()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set("arguments", 0, "shape", to=[2**40, 2**20]), "more than"),
        (_set("arguments", 1, "shape", to=[2**39]), "more than"),
        (_set("arguments", 0, "shape", to=[-1, 5]), "shape is not a whole number"),
        (_set("arguments", 0, "shape", to="3x5"), "shape is not a list"),
        (_set("arguments", 0, "deflated", to=BOMB), "does not have the 30 bytes"),
        (_set("arguments", 0, "deflated", to="!!"), "damaged"),
        (_set("arguments", 0, "dtype", to="object"), "element type 'object'"),
        (_set("arguments", 0, "dtype", to=["f32"]), "is not known"),
        (_set("arguments", 0, "role", to="owner"), "role 'owner'"),
        (_set("arguments", 0, to=7), "not an object"),
        (_set("arguments", 0, "kind", to="path"), "kind 'path'"),
        (_set("arguments", 2, "value", to="seven"), "does not fit i32"),
        (_set("arguments", 2, "value", to=2**40), "does not fit i32"),
        (_set("arguments", 2, "value", to=None), "does not fit i32"),
        (_set("arguments", 8, "buffer", to=3), "none of the arguments before it"),
        (_set("arguments", 8, "buffer", to=-1), "whole number"),
        (_set("arguments", to="all"), "not a list"),
        (_set("groups", to=[1, 2]), "three sizes"),
        (_set("groups", to=[1, 2, 1.5]), "whole number"),
        (_set("group_size", to=[10**6, 1, 1]), "whole number from 0 to 4096"),
        (_set("local_bytes", to=1 << 40), "local_bytes"),
        (_set("source", to=None), "source is not a text"),
        (_set("entry", to="a\0b"), "entry is not a text"),
        (_set("mode", to="fast"), "none of exact"),
        (_set("language", to="python"), "neither opencl nor cuda"),
        (_set("expected", to={}), "nothing of what is expected"),
        (_set("expected", to=[1]), "do not belong"),
        (_set("expected", "q", to={"dtype": "f32", "shape": []}), "do not belong"),
        (_set("expected", "y", "shape", to=[2]), "does not have the 16 bytes"),
        (_set("tolerance", "y", to=["1", 2]), "not two numbers"),
        (_set("runs", to=10**9), "runs"),
    ],
)
def test_hostile_files_are_refused(change: Callable[[dict[str, Any]], None], words: str) -> None:
    data = content()
    change(data)
    with pytest.raises(InputError) as caught:
        repro.parse(data)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a repro file"),
        ("[1]", "lacks"),
        ('{"format": "other"}', "lacks"),
        ('{"format": "a1400-repro", "format_version": 99}', "format 99"),
        ("[" * 100_000, "not a repro file"),
        ("\x80pickle", "not a repro file"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=words):
        repro.read(path)
    with pytest.raises(InputError, match="does not exist"):
        repro.read(tmp_path / "y.json")
    with pytest.raises(InputError, match="is not a file"):
        repro.read(tmp_path)


def test_infinite_scalars_are_strict_json() -> None:
    text = json.dumps(content()["arguments"][2:7], allow_nan=False)
    assert [a["value"] for a in json.loads(text)] == [-7, float(np.float32(0.1)), "-inf", 2**32 - 1, 1e-300]
