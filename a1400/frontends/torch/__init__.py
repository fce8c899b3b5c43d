"""PyTorch's ATen graphs as graphs of this package; needs torch."""

from a1400.frontends.torch.translate import Given, Translation, translate, unsupported

__all__ = ["Given", "Translation", "translate", "unsupported"]
