"""What is in the zoo, told without importing PyTorch."""

from __future__ import annotations

#: name -> title; the order is that of the tables
NAMES: dict[str, str] = {
    "tutorial_mnist": "tutorial CNN 28x28x1",
    "tutorial_cifar": "tutorial CNN 32x32x3",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "mobilenet_v2": "MobileNetV2",
    "efficientnet_b0": "EfficientNet-B0",
    "convnext_tiny": "ConvNeXt-tiny",
    "regnet_y_1_6gf": "RegNet-Y 1.6G",
    "vit_b16": "ViT-B/16",
    "swin_tiny": "Swin-tiny",
    "segformer_b0": "SegFormer-b0 512x512",
    "yolo": "YOLO-style detector 320x320",
    "unet": "U-Net 256x256",
    "bert_base": "BERT-base, 128 tokens",
    "minilm": "MiniLM, 6 layers, 128 tokens",
    "distilbert": "DistilBERT, 128 tokens",
    "gpt2_prefill": "GPT-2, prefill of 64",
    "llama_prefill": "Llama-style, 4 layers, prefill of 64",
    "llama_decode": "Llama-style, 4 layers, one step after 64",
    "t5_encoder": "T5-small encoder, 64 tokens",
    "whisper_encoder": "Whisper-tiny encoder, 30 s",
    "wav2vec2": "wav2vec2-base, 1 s",
    "speech_lstm": "conv + LSTM speech model",
    "speech_gru": "conv + GRU speech model",
    "espcn": "ESPCN super-resolution",
    "fsrcnn": "FSRCNN super-resolution",
}
