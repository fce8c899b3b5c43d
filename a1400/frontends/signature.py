"""What a model says about its inputs and outputs before any shape is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Dim = int | str | None


def map_parts(name: str) -> tuple[str, str]:
    """What the vectors of keys and values that the dict ``name`` is made of are called."""
    return f"{name}{{keys}}", f"{name}{{values}}"


@dataclass(frozen=True)
class ShapeDtype:
    """Shape and dtype of a model's input or output.

    A dimension is a number, the name of a symbolic size (``"batch"``) or None where the model says nothing;
    ``shape`` is None when not even the rank is known.  ``dtype`` is None for an output whose model gives no type, and
    ``object`` for strings.  ``kind`` is "tensor", "sequence" (of tensors of ``dtype``), "optional" or "optional
    sequence", "map" (a dict of values of ``dtype``) or "sequence of maps".  ``encoded`` says that it is a dict, or the
    bytes of a file, which the host decodes.
    """

    shape: tuple[Dim, ...] | None
    dtype: np.dtype | None
    kind: str = "tensor"
    encoded: bool = False

    @property
    def is_text(self) -> bool:
        """True where the host works on what the input holds: strings, and files."""
        return self.dtype == np.dtype(object) or self.encoded

    @property
    def is_plain(self) -> bool:
        """True for a tensor of numbers that the device is given."""
        return self.kind == "tensor" and not self.is_text

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """True when the concrete ``shape`` fits."""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            not isinstance(d, int) or d == n for d, n in zip(self.shape, shape)
        )

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.dtype}[...]"
        return f"{self.dtype}[{', '.join('?' if d is None else str(d) for d in self.shape)}]"
