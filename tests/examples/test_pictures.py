"""Loaders of the image-classification example: right on small files of each form, one clear error on damaged ones."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
from PIL import Image

from tests.examples.loading import example

data = example("image_classification", "data")


def idx(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def mnist_folder(folder, packed: bool):
    rng = np.random.default_rng(0)
    parts = {}
    for prefix, count in (("train", 20), ("t10k", 5)):
        for name, array in (
            (f"{prefix}-images-idx3-ubyte", rng.integers(0, 256, (count, 28, 28)).astype(np.uint8)),
            (f"{prefix}-labels-idx1-ubyte", (np.arange(count) % 10).astype(np.uint8)),
        ):
            parts[name] = array
            if packed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
            else:
                (folder / name).write_bytes(idx(array))
    return parts


@pytest.mark.parametrize("packed", [False, True])
def test_mnist(tmp_path, packed):
    parts = mnist_folder(tmp_path, packed)
    found = data.mnist(tmp_path)
    assert found.x_train.shape == (20, 28, 28, 1) and found.x_train.dtype == np.float32
    assert np.array_equal(np.rint(found.x_test[..., 0] * 255), parts["t10k-images-idx3-ubyte"])
    assert np.array_equal(found.y_train, parts["train-labels-idx1-ubyte"]) and len(found.classes) == 10


def test_mnist_files_that_are_damaged(tmp_path):
    with pytest.raises(FileNotFoundError, match="train-images"):
        data.mnist(tmp_path)
    mnist_folder(tmp_path, False)
    path = tmp_path / "train-images-idx3-ubyte"
    whole = path.read_bytes()
    for content, words in (
        (whole[:-1], "cut off"),
        (whole[:7], "no IDX file"),
        (b"\x00\x00\x0d\x03" + whole[4:], "no IDX file"),
        (whole[:4] + b"\xff" * 4 + whole[8:], "says that it holds"),
        (idx(np.zeros((3, 28, 28), np.uint8)), "3 train pictures have 20 labels"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=words):
            data.mnist(tmp_path)


def test_cifar10(tmp_path):
    rows = np.random.default_rng(0).integers(0, 256, (7, 3073)).astype(np.uint8)
    rows[:, 0] %= 10
    for name in ("data_batch_1.bin", "data_batch_2.bin", "test_batch.bin"):
        (tmp_path / name).write_bytes(rows.tobytes())
    found = data.cifar10(tmp_path)
    assert found.x_train.shape == (14, 32, 32, 3) and found.x_test.shape == (7, 32, 32, 3)
    assert found.x_test[3, 5, 7, 2] == np.float32(rows[3, 1 + 2 * 1024 + 5 * 32 + 7]) / np.float32(255)
    assert np.array_equal(found.y_test, rows[:, 0]) and found.classes[3] == "cat"
    (tmp_path / "test_batch.bin").write_bytes(b"x" * 3072)
    with pytest.raises(ValueError, match="multiple of 3,073"):
        data.cifar10(tmp_path)
    with pytest.raises(FileNotFoundError, match="binary version"):
        data.cifar10(tmp_path / "data_batch_1.bin")


def test_folders_of_pictures(tmp_path):
    for number, name in enumerate(("red", "green", "blue")):
        for part, count in (("train", 3), ("test", 2), ("all", 5)):
            (tmp_path / part / name).mkdir(parents=True)
            for k in range(count):
                pixels = np.zeros((20 + k, 30, 3), np.uint8)
                pixels[..., number] = 255
                Image.fromarray(pixels).save(tmp_path / part / name / f"{k}.png")
    for folder in (tmp_path, tmp_path / "all"):
        found = data.pictures(folder, size=16)
        assert found.classes == ["blue", "green", "red"]
        for x, y in ((found.x_train, found.y_train), (found.x_test, found.y_test)):
            assert len(x) in (9, 6, 12, 3) and x.shape[1:] == (16, 16, 3)
            channels = {"red": 0, "green": 1, "blue": 2}
            assert [found.classes[c] for c in y] == [n for p in x for n, c in channels.items() if p[8, 8, c] == 1]
    (tmp_path / "all" / "red" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ValueError, match=r"0\.png cannot be read"):
        data.pictures(tmp_path / "all")
    with pytest.raises(ValueError, match="at least two classes"):
        data.pictures(tmp_path / "all" / "red")


def test_digits():
    found = data.digits()
    assert found.x_train.shape == (1257, 28, 28, 1) and found.x_test.shape == (540, 28, 28, 1)
    assert found.x_train.min() >= 0 and found.x_train.max() <= 1
    assert np.bincount(found.y_test).min() >= 50
