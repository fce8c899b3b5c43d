"""Export architectures to ONNX with random weights: what the whole-model tests and the benchmarks run.

``export("resnet18")`` gives the path of an ONNX file and example inputs.  ``size="small"`` keeps tests quick,
``size="full"`` is the published size where the architecture has one here (ResNet-18/50, BERT-base ...).
Files are kept in one temporary folder per process (or ``folder``), so that each is exported once.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch


@dataclass
class Recipe:
    """A network and how to export it.

    ``inputs`` are example tensors by name, in the order of ``forward``; ``dynamic`` names the axes that stay symbolic;
    ``dynamo`` says which of PyTorch's two exporters is used unless the caller chooses.
    """

    network: torch.nn.Module
    inputs: dict[str, torch.Tensor]
    outputs: list[str] = field(default_factory=lambda: ["y"])
    dynamic: dict[str, dict[int, str]] = field(default_factory=dict)
    dynamo: bool = False


Builder = Callable[[str], Recipe]
MODELS: dict[str, Builder] = {}
_folder: Path | None = None


def model(function: Builder) -> Builder:
    """Register a builder under its name."""
    MODELS[function.__name__] = function
    return function


#: every architecture; kept here so that collecting tests does not import transformers
NAMES = (
    "bert", "convnext", "detector", "efficientnet", "espcn", "fsrcnn", "gpt2", "llama", "mobilenet_v2", "regnet",
    "resnet18", "resnet50", "segformer", "speech_gru", "speech_lstm", "swin", "t5_encoder", "unet", "vit", "wav2vec2",
    "whisper_encoder",
)  # fmt: skip


def _builder(name: str) -> Builder:
    from tests.models import language, vision  # noqa: F401 - importing registers

    assert sorted(MODELS) == list(NAMES), "NAMES is out of date"
    return MODELS[name]


def export(
    name: str, size: str = "small", dynamo: bool | None = None, folder: Path | None = None
) -> tuple[Path, dict[str, np.ndarray]]:
    """Export architecture ``name``; returns the file and example inputs (same values on every call)."""
    made = recipe(name, size)
    exporter = made.dynamo if dynamo is None else dynamo
    path = (folder or _session_folder()) / f"{name}-{size}-{'dynamo' if exporter else 'script'}.onnx"
    if not path.exists():
        write(made, path, exporter)
    return path, {k: v.numpy() for k, v in made.inputs.items()}


def recipe(name: str, size: str = "small") -> Recipe:
    """The architecture itself with the weights that ``export`` writes (the same on every call)."""
    builder = _builder(name)
    return seeded(name, lambda: builder(size))


def seeded(name: str, make: Callable[[], Recipe]) -> Recipe:
    """What ``make`` builds, with random weights that depend on ``name`` alone."""
    torch.manual_seed(sum(name.encode()))
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        made = make()
        _calibrate(made.network)
    return made


def write(recipe: Recipe, path: Path, dynamo: bool = False) -> None:
    """Export ``recipe`` to ``path``; the file appears there when it is whole."""
    partial = path.with_suffix(".partial.onnx")
    with torch.no_grad(), warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            recipe.network.eval(), tuple(recipe.inputs.values()), str(partial), input_names=list(recipe.inputs),
            output_names=recipe.outputs, dynamic_axes=None if dynamo else recipe.dynamic or None, dynamo=dynamo,
            **({"external_data": False} if dynamo else {"opset_version": 17}),
        )  # fmt: skip
    partial.rename(path)


def _calibrate(network: torch.nn.Module) -> None:
    """Random statistics and scales, so that batch normalisations are not close to doing nothing."""
    generator = torch.Generator().manual_seed(7)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            shape = module.running_mean.shape  # type: ignore[union-attr]
            module.running_mean.copy_(torch.randn(shape, generator=generator) * 0.1)  # type: ignore[union-attr,operator]
            module.running_var.copy_(torch.rand(shape, generator=generator) + 0.5)  # type: ignore[union-attr,operator]
            module.weight.data.copy_(torch.rand(shape, generator=generator) * 0.5 + 0.75)
            module.bias.data.copy_(torch.randn(shape, generator=generator) * 0.1)


def _session_folder() -> Path:
    global _folder
    if _folder is None:
        _folder = Path(tempfile.mkdtemp(prefix="a1400-models-"))
        atexit.register(shutil.rmtree, _folder, ignore_errors=True)
    return _folder


@contextlib.contextmanager
def _quiet():  # type: ignore[no-untyped-def]
    """The exporters print and log their progress."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(level)
