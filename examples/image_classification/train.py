"""Train a small CNN on scikit-learn's handwritten digits and export it to ONNX.

Needs PyTorch, onnxscript, scikit-learn and Pillow: ``pip install "a1400[test]"`` brings all of them.  Writes, beside
this file: ``digits.onnx`` (input ``image``, float32 [batch, 1, 8, 8] in 0..1; output ``scores``, float32 [batch, 10]),
``labels.txt``, ten held-out pictures in ``pictures/``, and ``accuracy.json``.

    python examples/image_classification/train.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

HERE = Path(__file__).resolve().parent
SEED = 1400
EPOCHS = 30
PICTURE_SIZE = 64


def make_model() -> nn.Module:
    """Two convolutions, a pool, a third convolution, and a linear layer over the means: about 25,000 weights."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def shifted(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each image moved by up to one pixel each way: people do not write in the middle of the box."""
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    rows, columns = torch.randint(0, 3, (2, len(images)), generator=generator).tolist()
    return torch.stack([p[:, r : r + 8, c : c + 8] for p, r, c in zip(padded, rows, columns)])


def train(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Adam with a one-cycle learning rate; the number of epochs is fixed, so nothing is picked on held-out data."""
    generator = torch.Generator().manual_seed(SEED)
    batch = 64
    steps = EPOCHS * ((len(images) + batch - 1) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=steps)
    model.train()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images), generator=generator).split(batch):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(shifted(images[rows], generator)), labels[rows])
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()


def export(model: nn.Module, path: Path) -> None:
    """Write ``model`` as ONNX with a symbolic batch, without the exporter's notes on where it ran."""
    batch = torch.export.Dim("batch")
    program = torch.onnx.export(
        model,
        (torch.zeros(2, 1, 8, 8),),
        input_names=["image"],
        output_names=["scores"],
        dynamic_shapes=({0: batch},),
        opset_version=18,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    proto = program.model_proto
    del proto.metadata_props[:]
    for part in (*proto.graph.node, *proto.graph.input, *proto.graph.output, *proto.graph.value_info, proto.graph):
        part.doc_string = ""
        if part is not proto.graph:
            del part.metadata_props[:]
    del proto.graph.metadata_props[:]
    proto.graph.name = "digits"
    onnx.checker.check_model(proto, full_check=True)
    onnx.save_model(proto, path)


def save_pictures(images: np.ndarray, labels: np.ndarray) -> None:
    """The first held-out image of each digit as an 8-bit PNG, enlarged so that a person can see it."""
    folder = HERE / "pictures"
    folder.mkdir(exist_ok=True)
    for digit in range(10):
        index = int(np.flatnonzero(labels == digit)[0])
        pixels = np.rint(images[index, 0] * 255).astype(np.uint8)
        picture = Image.fromarray(pixels).resize((PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.NEAREST)
        picture.save(folder / f"digit-{digit}.png")


def main() -> None:
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # the same sums in the same order, whatever the machine
    digits = load_digits()
    images = (digits.images[:, None] / 16).astype(np.float32)
    labels = digits.target.astype(np.int64)
    x_train, x_held, y_train, y_held = train_test_split(
        images, labels, test_size=0.3, random_state=SEED, stratify=labels
    )
    model = make_model()
    train(model, torch.from_numpy(x_train), torch.from_numpy(y_train))
    with torch.no_grad():
        guesses = model(torch.from_numpy(x_held)).argmax(1).numpy()
    right = int((guesses == y_held).sum())
    export(model, HERE / "digits.onnx")
    save_pictures(x_held, y_held)
    (HERE / "labels.txt").write_text("".join(f"{digit}\n" for digit in range(10)))
    report = {
        "trained_on": len(y_train),
        "held_out": len(y_held),
        "held_out_right": right,
        "held_out_accuracy": round(right / len(y_held), 4),
        "seed": SEED,
        "epochs": EPOCHS,
    }
    (HERE / "accuracy.json").write_text(json.dumps(report, indent=2) + "\n")
    print(f"held-out accuracy: {right} of {len(y_held)} = {100 * right / len(y_held):.2f} %")


if __name__ == "__main__":
    main()
