"""Softmax with one tunable, FAULT: every value but two plants a mistake; 0, the default, is slow, and 7 is fast.

0 slow; 1 wrong values; 2 a row left out; 3 a write past the end; 4 the compiler aborts; 5 the compiler hangs; 6 no
program; 7 fast; 8 right only where the output held zeros or the usual poison before.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from a1400.kernels import load_all
from a1400.kernels.spec import REGISTRY, KernelCall, Tunable, Variant
from tests.verify.plugins.planted import change_text

FAULTS = tuple(range(9))


def change(call: KernelCall, text: str) -> str:
    """Misbehave as the compiler of the call's program would."""
    fault = call.tunables.get("FAULT")
    if fault == 4:
        print("LLVM ERROR: Cannot select: planted", file=sys.stderr, flush=True)
        os.abort()
    if fault == 5:
        time.sleep(3600)
    return text


load_all()
_SPEC = REGISTRY["softmax"]
REGISTRY["softmax"] = replace(
    _SPEC,
    variants=(
        Variant(
            "planted", "any", lambda s, t: (((int(s["rows"]) + 3) // 4, 1, 1), (4, 1, 1)),
            (Tunable("FAULT", 0, FAULTS, "which mistake"),), backends=("opencl",),
            source=str(Path(__file__).with_name("planted_softmax")),
        ),
    ),
)  # fmt: skip
change_text(change)
