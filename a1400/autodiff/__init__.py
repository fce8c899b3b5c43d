"""Reverse-mode differentiation of graphs; each op's rule stands beside the op (``a1400/ops``)."""

from a1400.autodiff.reverse import gradients

__all__ = ["gradients"]
