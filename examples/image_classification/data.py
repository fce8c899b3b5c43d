"""Pictures to learn from: scikit-learn's digits, MNIST, CIFAR-10, or any folder with a folder of pictures per class."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}


@dataclass
class Data:
    """Pictures as float32 [N, height, width, channels] in 0..1, their classes as int64 [N], and the classes' names."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: list[str]


def digits(size: int = 28, seed: int = 1400) -> Data:
    """scikit-learn's 1,797 handwritten digits, enlarged from 8 x 8; 30 % of each digit are held out."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    found = load_digits()
    pictures = np.stack([
        np.asarray(Image.fromarray(image.astype(np.float32), mode="F").resize((size, size), Image.Resampling.BILINEAR))
        for image in found.images / 16
    ])[..., None]  # fmt: skip
    x_train, x_test, y_train, y_test = train_test_split(
        pictures, found.target.astype(np.int64), test_size=0.3, random_state=seed, stratify=found.target
    )
    return Data(x_train, y_train, x_test, y_test, [str(digit) for digit in range(10)])


def mnist(folder: Path) -> Data:
    """MNIST, or what has its form (Fashion-MNIST, KMNIST), from its four IDX files, packed (.gz) or not."""
    parts = []
    for prefix in ("train", "t10k"):
        images = _idx(folder, f"{prefix}-images-idx3-ubyte", 3)
        labels = _idx(folder, f"{prefix}-labels-idx1-ubyte", 1)
        if len(images) != len(labels):
            raise ValueError(f"{folder}: {len(images)} {prefix} pictures have {len(labels)} labels")
        parts += [(images[..., None] / np.float32(255)).astype(np.float32), labels.astype(np.int64)]
    return Data(*parts, classes=[str(c) for c in range(int(parts[1].max()) + 1)])


def _idx(folder: Path, name: str, rank: int) -> np.ndarray:
    """An IDX file: two zeros, the type (8: bytes), the rank, the sizes (big-endian), then the bytes."""
    for path in (folder / name, folder / f"{name}.gz", folder / name.replace("-idx", ".idx")):
        if path.is_file():
            break
    else:
        raise FileNotFoundError(f"{folder} holds no {name} or {name}.gz")
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        head = file.read(4 + 4 * rank)
        if len(head) < 4 + 4 * rank or head[:4] != bytes((0, 0, 8, rank)):
            raise ValueError(f"{path} is no IDX file of bytes with {rank} axes")
        shape = np.frombuffer(head, ">u4", offset=4).astype(np.int64)
        count = int(np.prod(shape))
        if count > 1 << 31:
            raise ValueError(f"{path} says that it holds {count:,} bytes")
        content = file.read(count)
    if len(content) != count:
        raise ValueError(f"{path} is cut off: {len(content):,} of {count:,} bytes")
    return np.frombuffer(content, np.uint8).reshape(shape)


def cifar10(folder: Path) -> Data:
    """CIFAR-10's binary version: 3,073 bytes a picture, the class and then 32 x 32 of red, green and blue."""
    if (folder / "cifar-10-batches-bin").is_dir():
        folder = folder / "cifar-10-batches-bin"

    def read(name: str) -> tuple[np.ndarray, np.ndarray]:
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(f"{folder} holds no {name}: take the binary version of CIFAR-10, not the pickles")
        rows = np.fromfile(path, np.uint8)
        if not rows.size or rows.size % 3073:
            raise ValueError(f"{path} is no CIFAR-10 batch: its length is no multiple of 3,073 bytes")
        rows = rows.reshape(-1, 3073)
        if rows[:, 0].max() > 9:
            raise ValueError(f"{path} is no CIFAR-10 batch: it has a class above 9")
        pictures = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        return np.ascontiguousarray(pictures, np.float32) / np.float32(255), rows[:, 0].astype(np.int64)

    train = [read(path.name) for path in sorted(folder.glob("data_batch_*.bin"))] or [read("data_batch_1.bin")]
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    x, y = (np.concatenate(part) for part in zip(*train))
    return Data(x, y, *read("test_batch.bin"), names)


def pictures(folder: Path, size: int = 64, held_out: float = 0.2, seed: int = 1400) -> Data:
    """A folder of pictures, a folder per class; ``train`` and ``test`` inside it, or a share of each class is held out.

    Pictures are cut to a square and scaled to ``size``.
    """
    parts = [folder / "train", folder / "test"]
    if all(part.is_dir() for part in parts):
        classes = _classes(parts[0])
        return Data(*_read(parts[0], classes, size), *_read(parts[1], classes, size), classes)
    from sklearn.model_selection import train_test_split

    classes = _classes(folder)
    x, y = _read(folder, classes, size)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=held_out, random_state=seed, stratify=y)
    return Data(x_train, y_train, x_test, y_test, classes)


def _classes(folder: Path) -> list[str]:
    found = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(found) < 2:
        raise ValueError(f"{folder} holds {len(found)} folders: one per class is wanted, and at least two classes")
    return found


def _read(folder: Path, classes: list[str], size: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = [], []
    for number, name in enumerate(classes):
        files = sorted(p for p in (folder / name).glob("*") if p.suffix.lower() in SUFFIXES)
        if not files:
            raise ValueError(f"{folder / name} holds no pictures")
        for path in files:
            try:
                with Image.open(path) as picture:
                    x.append(_square(picture.convert("RGB"), size))
            except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
                raise ValueError(f"{path} cannot be read: {error}") from None
            y.append(number)
    return np.stack(x), np.array(y, np.int64)


def _square(picture: Image.Image, size: int) -> np.ndarray:
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    part = picture.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(part, np.float32) / np.float32(255)
