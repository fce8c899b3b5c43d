"""Recipes of vision and speech architectures."""

from __future__ import annotations

import torch

from tests.models import networks
from tests.models.export import Recipe, model

_IMAGE = {"x": {0: "batch"}}
_ANY_IMAGE = {"x": {0: "batch", 2: "height", 3: "width"}}


def _image(side: int, batch: int = 1, channels: int = 3) -> dict[str, torch.Tensor]:
    return {"x": torch.randn(batch, channels, side, side, generator=torch.Generator().manual_seed(1))}


@model
def resnet18(size: str) -> Recipe:
    """ResNet of basic blocks."""
    if size == "full":
        return Recipe(networks.ResNet((2, 2, 2, 2), 64, False, 1000), _image(224), dynamic=_IMAGE)
    return Recipe(networks.ResNet((1, 2, 1), 16, False, 10), _image(64, 2), dynamic=_IMAGE)


@model
def resnet50(size: str) -> Recipe:
    """ResNet of bottleneck blocks."""
    if size == "full":
        return Recipe(networks.ResNet((3, 4, 6, 3), 64, True, 1000), _image(224), dynamic=_IMAGE)
    return Recipe(networks.ResNet((1, 2, 1), 8, True, 10), _image(64, 2), dynamic=_IMAGE)


@model
def mobilenet_v2(size: str) -> Recipe:
    """Inverted residuals with ReLU6."""
    if size == "full":
        rows = [
            (1, 16, 1, 1, 3),
            (6, 24, 2, 2, 3),
            (6, 32, 3, 2, 3),
            (6, 64, 4, 2, 3),
            (6, 96, 3, 1, 3),
            (6, 160, 3, 2, 3),
            (6, 320, 1, 1, 3),
        ]
        return Recipe(networks.MobileNet(rows, 32, 1280, False, 1000), _image(224), dynamic=_IMAGE)
    rows = [(1, 8, 1, 1, 3), (4, 12, 2, 2, 3), (4, 20, 2, 2, 3)]
    return Recipe(networks.MobileNet(rows, 8, 48, False, 10), _image(48, 2), dynamic=_IMAGE)


@model
def efficientnet(size: str) -> Recipe:
    """Inverted residuals with SiLU, 5x5 kernels, squeeze and excitation."""
    if size == "full":
        rows = [
            (1, 16, 1, 1, 3),
            (6, 24, 2, 2, 3),
            (6, 40, 2, 2, 5),
            (6, 80, 3, 2, 3),
            (6, 112, 3, 1, 5),
            (6, 192, 4, 2, 5),
            (6, 320, 1, 1, 3),
        ]
        return Recipe(networks.MobileNet(rows, 32, 1280, True, 1000), _image(224), dynamic=_IMAGE)
    rows = [(1, 8, 1, 1, 3), (4, 12, 2, 2, 5), (4, 20, 2, 2, 3)]
    return Recipe(networks.MobileNet(rows, 8, 48, True, 10), _image(48, 2), dynamic=_IMAGE)


@model
def detector(size: str) -> Recipe:
    """A YOLO-style detector."""
    width, side = (32, 320) if size == "full" else (8, 64)
    return Recipe(networks.Detector(width, 6), _image(side), ["boxes", "scores"], _ANY_IMAGE)


@model
def unet(size: str) -> Recipe:
    """Segmentation with skips."""
    width, side = (64, 256) if size == "full" else (8, 32)
    return Recipe(networks.UNet(width, 4), _image(side), dynamic=_ANY_IMAGE)


@model
def espcn(size: str) -> Recipe:
    """Super-resolution by pixel shuffle."""
    width, side = (64, 128) if size == "full" else (16, 20)
    return Recipe(networks.SubPixel(width, 3), _image(side, channels=1), dynamic=_ANY_IMAGE)


@model
def fsrcnn(size: str) -> Recipe:
    """Super-resolution by transposed convolution."""
    width, side = (56, 128) if size == "full" else (16, 20)
    return Recipe(networks.FastSuperResolution(width, 2), _image(side, channels=1), dynamic=_ANY_IMAGE)


def _speech(kind: str, size: str) -> Recipe:
    hidden, width, steps = (256, 32, 200) if size == "full" else (12, 4, 40)
    x = torch.randn(2, steps, 40, generator=torch.Generator().manual_seed(1))
    return Recipe(networks.Speech(kind, 40, width, hidden, 29), {"x": x}, dynamic={"x": {0: "batch", 1: "time"}})


@model
def speech_gru(size: str) -> Recipe:
    """Convolution and bidirectional GRU."""
    return _speech("gru", size)


@model
def speech_lstm(size: str) -> Recipe:
    """Convolution and bidirectional LSTM."""
    return _speech("lstm", size)
