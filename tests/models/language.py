"""Recipes of architectures from the transformers package (vision ones too), with random weights."""

from __future__ import annotations

from typing import Any

import torch
import transformers as tf
from torch import Tensor, nn

from tests.models.export import Recipe, model


class Pick(nn.Module):
    """Calls the network with named inputs and returns the named outputs as plain tensors."""

    def __init__(self, network: nn.Module, inputs: list[str], outputs: list[str], **fixed: Any) -> None:
        super().__init__()
        self.network, self.names, self.outputs, self.fixed = network, inputs, outputs, fixed

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        result = self.network(**dict(zip(self.names, tensors)), **self.fixed)
        return tuple(result[name] for name in self.outputs)


def named(
    network: nn.Module, inputs: dict[str, Tensor], outputs: list[str], dynamic: dict[str, dict[int, str]] | None = None,
    **fixed: Any,
) -> Recipe:  # fmt: skip
    """A recipe of a network of that package, whose inputs and outputs go by name."""
    return Recipe(Pick(network.eval(), list(inputs), outputs, **fixed), inputs, outputs, dynamic or {})


def tokens(batch: int, length: int, words: int) -> Tensor:
    """Token numbers [batch, length] below ``words``."""
    return torch.randint(0, words, (batch, length), generator=torch.Generator().manual_seed(1))


def pixels(side: int, batch: int = 1) -> Tensor:
    """Images [batch, 3, side, side]."""
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(1))


_TEXT = {"input_ids": {0: "batch", 1: "length"}, "attention_mask": {0: "batch", 1: "length"}}
_PIXELS = {"pixel_values": {0: "batch"}}


@model
def bert(size: str) -> Recipe:
    """BERT with a padded second sentence."""
    full = size == "full"
    config = tf.BertConfig() if full else tf.BertConfig(
        vocab_size=120, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64,
    )  # fmt: skip
    batch, length = (1, 128) if full else (2, 12)
    mask = torch.ones(batch, length, dtype=torch.int64)
    if batch > 1:
        mask[1, length // 2 :] = 0
    inputs = {"input_ids": tokens(batch, length, config.vocab_size), "attention_mask": mask}
    return named(tf.BertModel(config), inputs, ["last_hidden_state", "pooler_output"], _TEXT)


@model
def gpt2(size: str) -> Recipe:
    """GPT-2, a whole sequence at once."""
    config = (
        tf.GPT2Config()
        if size == "full"
        else tf.GPT2Config(vocab_size=120, n_positions=64, n_embd=32, n_layer=2, n_head=4)
    )
    batch, length = (1, 128) if size == "full" else (2, 10)
    inputs = {
        "input_ids": tokens(batch, length, config.vocab_size),
        "attention_mask": torch.ones(batch, length, dtype=torch.int64),
    }
    return named(tf.GPT2LMHeadModel(config), inputs, ["logits"], _TEXT, use_cache=False)


class Decoder(nn.Module):
    """One step of a decoder with its key/value cache as plain inputs and outputs."""

    def __init__(self, network: nn.Module, layers: int) -> None:
        super().__init__()
        self.network, self.layers = network, layers

    def forward(self, input_ids: Tensor, attention_mask: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        cache = tf.DynamicCache()
        for layer in range(self.layers):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        result = self.network(
            input_ids=input_ids, attention_mask=attention_mask, past_key_values=cache, use_cache=True, return_dict=True
        )
        present = [t for layer in result.past_key_values.layers for t in (layer.keys, layer.values)]
        return (result.logits, *present)


@model
def llama(size: str) -> Recipe:
    """A Llama-style decoder (grouped queries, rotary positions) with key/value cache inputs."""
    full = size == "full"
    config = tf.LlamaConfig(
        vocab_size=8000 if full else 120, hidden_size=512 if full else 32, intermediate_size=1376 if full else 48,
        num_hidden_layers=8 if full else 2, num_attention_heads=8 if full else 4, num_key_value_heads=4 if full else 2,
        max_position_embeddings=128,
    )  # fmt: skip
    return decoder(config, seen=6, new=3)


def decoder(config: tf.LlamaConfig, seen: int, new: int) -> Recipe:
    """``new`` tokens at once, after ``seen`` whose keys and values are inputs; the longer caches are outputs."""
    batch = 1
    width = config.hidden_size // config.num_attention_heads
    generator = torch.Generator().manual_seed(2)
    inputs = {
        "input_ids": tokens(batch, new, config.vocab_size),
        "attention_mask": torch.ones(batch, seen + new, dtype=torch.int64)
    }  # fmt: skip
    outputs, dynamic = ["logits"], {"input_ids": {1: "new"}, "attention_mask": {1: "total"}}
    for layer in range(config.num_hidden_layers):
        for part in ("key", "value"):
            name = f"past_{part}_{layer}"
            inputs[name] = torch.randn(batch, config.num_key_value_heads, seen, width, generator=generator)
            dynamic[name] = {2: "past"}
            outputs.append(f"present_{part}_{layer}")
    network = tf.LlamaForCausalLM(config).eval()
    return Recipe(Decoder(network, config.num_hidden_layers), inputs, outputs, dynamic)


@model
def t5_encoder(size: str) -> Recipe:
    """T5's encoder (relative position buckets, RMS norm)."""
    config = tf.T5Config() if size == "full" else tf.T5Config(
        vocab_size=120, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu"
    )  # fmt: skip
    batch, length = (1, 128) if size == "full" else (2, 12)
    inputs = {
        "input_ids": tokens(batch, length, config.vocab_size),
        "attention_mask": torch.ones(batch, length, dtype=torch.int64),
    }
    return named(tf.T5EncoderModel(config), inputs, ["last_hidden_state"], _TEXT)


@model
def whisper_encoder(size: str) -> Recipe:
    """Whisper's encoder over a mel spectrogram."""
    config = tf.WhisperConfig() if size == "full" else tf.WhisperConfig(
        vocab_size=120, num_mel_bins=20, d_model=32, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=64,
        decoder_layers=1, decoder_attention_heads=4, decoder_ffn_dim=64, max_source_positions=24, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    x = torch.randn(1, config.num_mel_bins, 2 * config.max_source_positions, generator=torch.Generator().manual_seed(1))
    encoder = tf.WhisperModel(config).get_encoder()
    return named(encoder, {"input_features": x}, ["last_hidden_state"], {"input_features": {0: "batch"}})


@model
def wav2vec2(size: str) -> Recipe:
    """wav2vec2 with letter scores, over raw sound."""
    config = tf.Wav2Vec2Config() if size == "full" else tf.Wav2Vec2Config(
        vocab_size=32, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        conv_dim=(16, 16, 16), conv_stride=(5, 4, 2), conv_kernel=(10, 8, 4), num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
    )  # fmt: skip
    x = torch.randn(1, 16000 if size == "full" else 1600, generator=torch.Generator().manual_seed(1))
    return named(
        tf.Wav2Vec2ForCTC(config), {"input_values": x}, ["logits"], {"input_values": {0: "batch", 1: "samples"}}
    )


@model
def vit(size: str) -> Recipe:
    """Vision transformer."""
    config = tf.ViTConfig() if size == "full" else tf.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, image_size=32, patch_size=8
    )  # fmt: skip
    inputs = {"pixel_values": pixels(config.image_size, 1 if size == "full" else 2)}
    return named(tf.ViTForImageClassification(config), inputs, ["logits"], _PIXELS)


@model
def convnext(size: str) -> Recipe:
    """ConvNeXt."""
    config = tf.ConvNextConfig() if size == "full" else tf.ConvNextConfig(
        hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 2, 1], image_size=64
    )  # fmt: skip
    inputs = {"pixel_values": pixels(224 if size == "full" else 64)}
    return named(tf.ConvNextForImageClassification(config), inputs, ["logits"], _PIXELS)


@model
def regnet(size: str) -> Recipe:
    """RegNet (grouped convolutions, squeeze and excitation)."""
    config = tf.RegNetConfig() if size == "full" else tf.RegNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 2, 1], groups_width=8
    )  # fmt: skip
    inputs = {"pixel_values": pixels(224 if size == "full" else 64)}
    return named(tf.RegNetForImageClassification(config), inputs, ["logits"], _PIXELS)


@model
def swin(size: str) -> Recipe:
    """Swin transformer (shifted windows)."""
    config = tf.SwinConfig() if size == "full" else tf.SwinConfig(
        image_size=32, patch_size=2, embed_dim=8, depths=[2, 2], num_heads=[2, 4], window_size=4
    )  # fmt: skip
    inputs = {"pixel_values": pixels(config.image_size)}
    return named(tf.SwinForImageClassification(config), inputs, ["logits"], _PIXELS)


@model
def segformer(size: str) -> Recipe:
    """SegFormer (efficient attention, all-MLP head, bilinear resizing)."""
    config = tf.SegformerConfig() if size == "full" else tf.SegformerConfig(
        hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], num_attention_heads=[1, 2, 3, 4],
        decoder_hidden_size=16, num_labels=5,
    )  # fmt: skip
    inputs = {"pixel_values": pixels(512 if size == "full" else 64)}
    return named(tf.SegformerForSemanticSegmentation(config), inputs, ["logits"], _PIXELS)
