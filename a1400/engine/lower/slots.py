"""Filling kernel slots: the epilogue must yield the register type of what is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from a1400 import dtypes
from a1400.kernels import expr as expressions
from a1400.kernels.spec import SlotArgument, SlotCode

Filled = tuple[SlotCode, Sequence[SlotArgument]]


def with_epilogue(slots: Mapping[str, Filled], given: np.dtype, stored: np.dtype) -> dict[str, Filled]:
    """``slots`` with an EPILOGUE that casts ``given`` to ``stored``.

    Nothing is added where they have one register type or an EPILOGUE is there already.
    """
    result = dict(slots)
    if "EPILOGUE" not in result and dtypes.info(given).register != dtypes.info(stored).register:
        result["EPILOGUE"] = (SlotCode(expressions.cast(expressions.arg(0, given), stored)), ())
    return result
