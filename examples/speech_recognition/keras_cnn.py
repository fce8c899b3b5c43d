"""The tutorial's second network, with dropout, on spoken words: plain Keras, and one line that has it trained by a1400.

    python examples/speech_recognition/keras_cnn.py                                # words spoken by espeak-ng
    python examples/speech_recognition/keras_cnn.py --folder ~/speech_commands     # real recordings
    a1400 run speech-recognition/model.onnx --input word.wav

Writes into ``--output``: ``model.keras``, ``model.onnx`` (which says how a recording becomes its input) with
``labels.txt``, ``curves.png``, ``confusion.png``, ``result.json``.  Needs Keras 3 over PyTorch, TensorFlow or JAX,
scikit-learn, matplotlib, soundfile and soxr, and espeak-ng where no folder is given.
"""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Annotated

import data
import numpy as np
import speak
import typer

from a1400.io.audio import METADATA_KEY
from a1400.train import plots

if importlib.util.find_spec("tensorflow") is None:
    os.environ.setdefault("KERAS_BACKEND", "torch")  # Keras's own default is TensorFlow


def build(shape: tuple[int, ...], words: int):
    """The picture network with dropout before each dense layer: a spectrogram is a picture of sound."""
    import keras
    from keras import layers

    return keras.Sequential([
        layers.Input(shape),
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(128, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dropout(0.25),
        layers.Dense(128, activation="relu"),
        layers.Dropout(0.5),
        layers.Dense(words, activation="softmax"),
    ])  # fmt: skip


def main(
    folder: Annotated[Path | None, typer.Option(help="A folder of recordings per word (Speech Commands).")] = None,
    words: Annotated[str | None, typer.Option(help="Words to tell apart, with commas (default: all).")] = None,
    output: Annotated[Path, typer.Option(help="Folder for what is written.")] = Path("speech-recognition"),
    takes: Annotated[int, typer.Option(help="Of each word by each voice, where espeak-ng speaks.")] = 3,
    epochs: int = 20,
    batch_size: int = 64,
    seed: int = 1400,
    backend: Annotated[str | None, typer.Option(help="opencl or cuda (default: the best there is).")] = None,
) -> None:
    """Train the tutorial's second CNN and show how well it does on voices that it has not heard."""
    output.mkdir(parents=True, exist_ok=True)
    if folder is None:
        folder = output / "words"
        if not (folder / "testing_list.txt").is_file():
            print(f"{speak.speak(folder, takes, seed)} recordings are spoken into {folder}")
    found = data.load(folder.expanduser(), words.split(",") if words else None)
    print(f"{len(found.y_train)} recordings to learn from, {len(found.y_test)} by other voices held out")
    import keras

    import a1400.keras

    keras.utils.set_random_seed(seed)
    model = build(found.x_train.shape[1:], len(found.words))
    model = a1400.keras.accelerate(model, backend=backend)  # the one line
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    order = np.random.default_rng(seed).permutation(len(found.y_train))  # the validation share is the last of them
    history = model.fit(
        found.x_train[order], found.y_train[order], epochs=epochs, batch_size=batch_size, validation_split=0.1
    )
    loss, accuracy = model.evaluate(found.x_test, found.y_test, batch_size=256)
    guesses = model.predict(found.x_test, batch_size=256).argmax(1)

    plots.save_curves(history.history, output / "curves.png")
    plots.save_confusion(found.y_test, guesses, found.words, output / "confusion.png")
    model.save(output / "model.keras")
    model.export(output / "model.onnx", metadata={METADATA_KEY: found.form.to_json()})
    (output / "labels.txt").write_text("".join(f"{name}\n" for name in found.words))
    right = int(np.sum(guesses == found.y_test))
    report = {"held_out": len(guesses), "right": right, "accuracy": float(accuracy), "loss": float(loss)}
    (output / "result.json").write_text(json.dumps(report, indent=2) + "\n")
    print(f"{right} of {len(guesses)} recordings by held-out voices are recognised: {100 * right / len(guesses):.2f} %")
    print(f"written to {output}: model.keras, model.onnx, labels.txt, curves.png, confusion.png, result.json")


if __name__ == "__main__":
    typer.run(main)
