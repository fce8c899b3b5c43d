"""The tutorial's convolutional network for pictures: plain Keras, and one line that has it trained by a1400.

    python examples/image_classification/keras_cnn.py                          # scikit-learn's digits
    python examples/image_classification/keras_cnn.py --data mnist --folder ~/mnist
    python examples/image_classification/keras_cnn.py --data cifar10 --folder ~/cifar-10-batches-bin
    python examples/image_classification/keras_cnn.py --data folder --folder ~/flowers

Writes into ``--output``: ``model.keras``, ``model.onnx`` with ``labels.txt`` (for ``a1400 run``), ``curves.png``,
``confusion.png`` and ``result.json``.  Needs Keras 3 over PyTorch, TensorFlow or JAX, scikit-learn and matplotlib.
"""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Annotated

import data
import numpy as np
import typer

from a1400.train import plots

if importlib.util.find_spec("tensorflow") is None:
    os.environ.setdefault("KERAS_BACKEND", "torch")  # Keras's own default is TensorFlow


def build(shape: tuple[int, ...], classes: int):
    """Three convolutions with pooling between them, then two dense layers."""
    import keras
    from keras import layers

    return keras.Sequential([
        layers.Input(shape),
        # Not the tutorial's: in training each picture is moved and turned a little, since these data sets are small.
        layers.RandomTranslation(0.08, 0.08, fill_mode="constant"),
        layers.RandomRotation(0.03, fill_mode="constant"),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(128, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dense(classes, activation="softmax"),
    ])  # fmt: skip


def load(name: str, folder: Path | None) -> data.Data:
    """The data set ``name``."""
    if name == "digits":
        return data.digits()
    readers = {"mnist": data.mnist, "cifar10": data.cifar10, "folder": data.pictures}
    if name not in readers:
        raise typer.BadParameter(f"{name!r} is not one of digits, {', '.join(readers)}")
    if folder is None:
        raise typer.BadParameter(f"--data {name} needs --folder, where its files lie")
    return readers[name](folder.expanduser())


def main(
    dataset: Annotated[str, typer.Option("--data", help="digits, mnist, cifar10 or folder.")] = "digits",
    folder: Annotated[Path | None, typer.Option(help="Where the data set's files lie.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for what is written.")] = Path("image-classification"),
    epochs: int = 30,
    batch_size: int = 32,
    seed: int = 1400,
    backend: Annotated[str | None, typer.Option(help="opencl or cuda (default: the best there is).")] = None,
) -> None:
    """Train the tutorial's CNN and show how well it does on pictures that it has not seen."""
    found = load(dataset, folder)
    import keras

    import a1400.keras

    keras.utils.set_random_seed(seed)
    model = build(found.x_train.shape[1:], len(found.classes))
    model = a1400.keras.accelerate(model, backend=backend)  # the one line
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(
        found.x_train, found.y_train, epochs=epochs, batch_size=batch_size, validation_split=0.1
    )
    loss, accuracy = model.evaluate(found.x_test, found.y_test, batch_size=256)
    guesses = model.predict(found.x_test, batch_size=256).argmax(1)

    output.mkdir(parents=True, exist_ok=True)
    plots.save_curves(history.history, output / "curves.png")
    plots.save_confusion(found.y_test, guesses, found.classes, output / "confusion.png")
    model.save(output / "model.keras")
    model.export(output / "model.onnx")
    (output / "labels.txt").write_text("".join(f"{name}\n" for name in found.classes))
    right = int(np.sum(guesses == found.y_test))
    report = {"held_out": len(guesses), "right": right, "accuracy": float(accuracy), "loss": float(loss)}
    (output / "result.json").write_text(json.dumps(report, indent=2) + "\n")
    print(f"{right} of {len(guesses)} held-out pictures are recognised: {100 * right / len(guesses):.2f} %")
    print(f"written to {output}: model.keras, model.onnx, labels.txt, curves.png, confusion.png, result.json")


if __name__ == "__main__":
    typer.run(main)
