"""A matrix product in the kernels' terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from a1400.engine.lower.slots import Filled
from a1400.graph.graph import Value
from a1400.memory.storage import View


@dataclass
class Product:
    """A batched product: views [*batch, M, K] x [*batch, K, N] -> dense [*batch, M, N].

    ``b_constant`` is the weight value [K, N] behind B when it is one.  ``b_source`` is the value that holds B's
    elements, when several products may read them: what is packed from it is packed once.
    """

    a: View
    b: View
    c: View
    b_constant: Value | None
    slots: Mapping[str, Filled]
    b_source: Value | None = None
