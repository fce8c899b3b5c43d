"""``pairwise_coupling(r f32 [rows, k, k])`` -> ``[rows, k]``: probabilities of classes from those of their pairs.

:mod:`a1400.kernels.pairwise_coupling` tells what they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400.graph.graph import Value
from a1400.kernels.pairwise_coupling import coupled
from a1400.ops.registry import Result, op, require


def _infer(attrs: dict[str, Any], r: Value) -> list[Result]:
    require(r.rank == 3 and r.shape[1] == r.shape[2] > 0 and r.dtype == np.float32, f"pairs of classes are not {r}")
    return [(r.shape[:2], r.dtype)]


op("pairwise_coupling", "selection", _infer, lambda attrs, r: coupled(r)[0])
