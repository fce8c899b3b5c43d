"""Max pooling whose results are stored one part in a thousand too large."""

from __future__ import annotations

from a1400 import dtypes
from a1400.kernels.spec import KernelCall
from tests.verify.plugins.planted import change_text


def change(call: KernelCall, text: str) -> str:
    """Other stores, scalar and vector."""
    if call.spec.name != "pool_max" or not dtypes.is_float(call.types["OUT"]):
        return text
    head, mark, body = text.rpartition("\n#line 1 ")
    short, width = dtypes.short(call.types["OUT"]), call.variant.vector_width
    lines = ["#undef OUT_store", f"#define OUT_store(p, i, v) store_{short}(p, i, (v) * 1.001f)"]
    if width > 1:
        lines += ["#undef OUT_store_v", f"#define OUT_store_v(p, i, v) vstore{width}_{short}(p, i, (v) * 1.001f)"]
    return head + "\n" + "\n".join(lines) + mark + body


change_text(change)
