"""Filling kernel slots: the epilogue must yield the register type of what is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from a1400 import dtypes
from a1400.kernels import expr as expressions
from a1400.kernels.expr import Expr
from a1400.kernels.spec import SlotArgument, SlotCode

Filled = tuple[SlotCode, Sequence[SlotArgument]]


def with_epilogue(slots: Mapping[str, Filled], given: np.dtype, stored: np.dtype) -> dict[str, Filled]:
    """``slots`` with an EPILOGUE that casts ``given`` to ``stored``.

    Nothing is added where they have one register type or an EPILOGUE is there already.  One that does no more than
    the kernel's own store, which rounds to ``stored``, is left out: many kernels are faster without.
    """
    result = dict(slots)
    if "EPILOGUE" in result:
        code, arguments = result["EPILOGUE"]
        expr = without_rounding(code.expr, stored)
        if expr.op == "arg" and expr.value == 0 and not code.operands:
            del result["EPILOGUE"]
        else:
            result["EPILOGUE"] = (SlotCode(expr, code.operands), arguments)
    if "EPILOGUE" not in result and dtypes.info(given).register != dtypes.info(stored).register:
        result["EPILOGUE"] = (SlotCode(expressions.cast(expressions.arg(0, given), stored)), ())
    return result


def without_rounding(expr: Expr, stored: np.dtype) -> Expr:
    """``expr`` less a last cast to ``stored`` that the store repeats: from float registers to a half type.

    Widening casts under it, which change nothing in a register, go too.
    """
    if expr.op == "cast" and expr.dtype == stored and _floats(expr):
        expr = expr.args[0]
    while expr.op == "cast" and expr.dtype == np.float32 and _floats(expr):
        expr = expr.args[0]
    return expr


def _floats(cast: Expr) -> bool:
    return all(dtypes.is_float(d) and dtypes.info(d).register == "float" for d in (cast.dtype, cast.args[0].dtype))
