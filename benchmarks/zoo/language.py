"""Transformers over tokens and sound in the sizes of the comparison."""

from __future__ import annotations

import torch
import transformers as tf

from tests.models import language
from tests.models.export import Recipe
from tests.models.language import named, tokens

_HIDDEN = ["last_hidden_state"]


def _text(length: int, words: int) -> dict[str, torch.Tensor]:
    return {"input_ids": tokens(1, length, words), "attention_mask": torch.ones(1, length, dtype=torch.int64)}


def bert_base() -> Recipe:
    """BERT-base with its pooler."""
    config = tf.BertConfig()
    return named(tf.BertModel(config), _text(128, config.vocab_size), [*_HIDDEN, "pooler_output"])


def minilm() -> Recipe:
    """Six layers of 384."""
    config = tf.BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
    return named(tf.BertModel(config), _text(128, config.vocab_size), [*_HIDDEN, "pooler_output"])


def distilbert() -> Recipe:
    """Six layers of 768."""
    config = tf.DistilBertConfig()
    return named(tf.DistilBertModel(config), _text(128, config.vocab_size), _HIDDEN)


def gpt2_prefill() -> Recipe:
    """GPT-2 (124M) over 64 tokens, the next word's scores at each."""
    config = tf.GPT2Config()
    return named(tf.GPT2LMHeadModel(config), _text(64, config.vocab_size), ["logits"], use_cache=False)


def _llama() -> tf.LlamaConfig:
    return tf.LlamaConfig(
        vocab_size=4096, hidden_size=768, intermediate_size=2048, num_hidden_layers=4, num_attention_heads=12,
        num_key_value_heads=4, max_position_embeddings=512,
    )  # fmt: skip


def llama_prefill() -> Recipe:
    """Grouped queries, rotary positions, gated units; 64 tokens at once."""
    return named(tf.LlamaForCausalLM(_llama()), _text(64, 4096), ["logits"], use_cache=False)


def llama_decode() -> Recipe:
    """One token after 64 whose keys and values are inputs; the longer caches are outputs."""
    return language.decoder(_llama(), seen=64, new=1)


def t5_encoder() -> Recipe:
    """T5-small's encoder."""
    config = tf.T5Config()
    return named(tf.T5EncoderModel(config), _text(64, config.vocab_size), _HIDDEN)


def whisper_encoder() -> Recipe:
    """Whisper-tiny's encoder over 30 seconds."""
    config = tf.WhisperConfig(encoder_attention_heads=6)
    frames = 2 * config.max_source_positions
    x = torch.randn(1, config.num_mel_bins, frames, generator=torch.Generator().manual_seed(1))
    return named(tf.WhisperModel(config).get_encoder(), {"input_features": x}, _HIDDEN)


def wav2vec2() -> Recipe:
    """wav2vec2-base over one second of sound, with letter scores."""
    x = torch.randn(1, 16000, generator=torch.Generator().manual_seed(1))
    return named(tf.Wav2Vec2ForCTC(tf.Wav2Vec2Config()), {"input_values": x}, ["logits"])
