"""Vision and speech networks in the sizes of the comparison."""

from __future__ import annotations

from typing import Any

import torch
import transformers as tf

from tests.models import language, networks, vision
from tests.models.export import Recipe


def _image(side: int, channels: int = 3) -> dict[str, torch.Tensor]:
    return {"x": torch.randn(1, channels, side, side, generator=torch.Generator().manual_seed(1))}


def tutorial_mnist() -> Recipe:
    """Three convolutions on handwritten digits."""
    return Recipe(networks.Tutorial(28, 1, 10), _image(28, 1))


def tutorial_cifar() -> Recipe:
    """Three convolutions on small colour images."""
    return Recipe(networks.Tutorial(32, 3, 10), _image(32))


def resnet18() -> Recipe:
    """ResNet of basic blocks."""
    return vision.resnet18("full")


def resnet50() -> Recipe:
    """ResNet of bottleneck blocks."""
    return vision.resnet50("full")


def mobilenet_v2() -> Recipe:
    """Inverted residuals with ReLU6."""
    return vision.mobilenet_v2("full")


def efficientnet_b0() -> Recipe:
    """Inverted residuals with SiLU, squeeze and excitation."""
    return vision.efficientnet("full")


def _of_transformers(network: Any, side: int = 224) -> Recipe:
    return language.named(network, {"pixel_values": language.pixels(side)}, ["logits"])


def convnext_tiny() -> Recipe:
    """Depthwise 7x7 convolutions and layer norms."""
    return _of_transformers(tf.ConvNextForImageClassification(tf.ConvNextConfig(num_labels=1000)))


def regnet_y_1_6gf() -> Recipe:
    """Grouped convolutions, squeeze and excitation."""
    config = tf.RegNetConfig(
        embedding_size=32, hidden_sizes=[48, 120, 336, 888], depths=[2, 6, 17, 2], groups_width=24, layer_type="y",
        num_labels=1000,
    )  # fmt: skip
    return _of_transformers(tf.RegNetForImageClassification(config))


def vit_b16() -> Recipe:
    """Vision transformer, 197 tokens of 768."""
    return _of_transformers(tf.ViTForImageClassification(tf.ViTConfig(num_labels=1000)))


def swin_tiny() -> Recipe:
    """Attention within shifted 7x7 windows."""
    return _of_transformers(tf.SwinForImageClassification(tf.SwinConfig(num_labels=1000)))


def segformer_b0() -> Recipe:
    """Attention over reduced keys, an all-MLP head at a quarter of the resolution, 150 classes."""
    return _of_transformers(tf.SegformerForSemanticSegmentation(tf.SegformerConfig(num_labels=150)), 512)


def yolo() -> Recipe:
    """A detector of two scales, 20 classes."""
    return Recipe(networks.Detector(32, 20), _image(320), ["boxes", "scores"])


def unet() -> Recipe:
    """Segmentation with skips, three levels down and up."""
    return Recipe(networks.UNet(32, 4, 3), _image(256))


def espcn() -> Recipe:
    """Super-resolution by pixel shuffle, from 150x150 to 450x450."""
    return Recipe(networks.SubPixel(64, 3), _image(150, 1))


def fsrcnn() -> Recipe:
    """FSRCNN(56, 12, 4), from 128x128 to 256x256."""
    return Recipe(networks.FastSuperResolution(56, 2, 12, 4), _image(128, 1))


def _speech(kind: str) -> Recipe:
    x = torch.randn(1, 260, 80, generator=torch.Generator().manual_seed(1))
    return Recipe(networks.Speech(kind, 80, 64, 256, 29), {"x": x})


def speech_lstm() -> Recipe:
    """Two convolutions and two bidirectional LSTM layers of 256 over 130 steps."""
    return _speech("lstm")


def speech_gru() -> Recipe:
    """Two convolutions and two bidirectional GRU layers of 256 over 130 steps."""
    return _speech("gru")
