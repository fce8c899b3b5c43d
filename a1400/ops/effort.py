"""How much the NumPy reference of an op would have to do: what is too much for the host is left to the device.

Constants are folded on the host.  A file of a few bytes can ask for any product of constants, as `ConstantOfShape` and
`Expand` make them of any size, so what folding may cost is bounded by this estimate and not by the results alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from a1400.ops.registry import OpDef, Result, is_real

if TYPE_CHECKING:
    from a1400.graph.graph import Value

#: multiplications and the like that folding one node may take: seconds at worst
MOST = 2**31
#: families whose results take more than a look at each element
_PRODUCTS = {"attention", "convolution", "linear", "normalization", "recurrent", "sampling", "selection"}
#: whose references walk over elements or steps in Python
_WALKS = {"recurrent", "selection"}
_WALK = 4096
#: by how much NumPy is slower at products of integers, for which it has no blocked loops
_INTEGERS = 16


def too_much(
    definition: OpDef, attrs: dict[str, Any], inputs: Sequence[Value | None], results: Sequence[Result]
) -> bool:
    """Whether the host should not compute ``results``, which ``definition`` makes of constant ``inputs``."""
    return not definition.view and _effort(definition, attrs, inputs, results) > MOST


def _effort(
    definition: OpDef, attrs: dict[str, Any], inputs: Sequence[Value | None], results: Sequence[Result]
) -> int:
    made = sum(math.prod(shape) for shape, _ in results)
    given = [v for v in inputs if v is not None]
    read = sum(v.size for v in given)
    if definition.family not in _PRODUCTS or not given:
        return made + read
    if definition.name in ("matmul", "matmul_joined", "matmul_nbits"):
        each = given[0].shape[-1] if given[0].shape else 1
    elif definition.name == "pool":
        each = math.prod(attrs["kernel"])
    elif definition.name == "conv":
        each = given[1].size // max(results[0][0][-1], 1)
    else:
        each = max(v.size for v in given) * (_WALK if definition.family in _WALKS else 1)
    return made * max(each, 1) * (1 if is_real(given[0].dtype) else _INTEGERS) + read
