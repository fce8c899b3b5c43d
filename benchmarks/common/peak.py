"""What a CPU's cores can do at most: chains of nothing but fused multiply-adds on registers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from a1400.backends.base import Device

#: vector width -> independent chains: enough to hide the latency of 4 cycles on 2 pipes, few enough for the registers
_SHAPES = {16: 12, 8: 12}
WIDTHS = tuple(_SHAPES)
_GROUPS_PER_CORE, _TURNS = 8, 20_000


def _source(width: int, chains: int) -> str:
    declare = ", ".join(f"s{i} = {i}.0f" for i in range(chains))
    step = " ".join(f"s{i} = fma(s{i}, x, y);" for i in range(chains))
    total = " + ".join(f"s{i}" for i in range(chains))
    return f"""
__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void peak(__global float *out, const int turns) {{
    const float{width} x = (float{width})(out[0]), y = (float{width})(out[1]);
    float{width} {declare};
    for (int i = 0; i < turns; i++) {{ {step} }}
    vstore{width}({total}, 0, out + 2 + 16 * get_global_id(0));
}}
"""


def loop(device: Device, width: int) -> tuple[Callable[[], None], float]:
    """A function that runs the loop once on all cores and waits (some milliseconds), and its operations.

    ``width``: floats of a vector, 16 (AVX-512) or 8 (AVX2).
    """
    chains, groups = _SHAPES[width], _GROUPS_PER_CORE * device.info.compute_units
    program = device.compile("peak", _source(width, chains), "peak")
    out, stream = device.alloc(4 * (2 + 16 * groups)), device.stream()
    stream.write(out, np.full(2 + 16 * groups, 0.5, np.float32))
    bound = program.bind([out, np.int32(_TURNS)], (groups, 1, 1), (1, 1, 1))

    def run() -> None:
        stream.run([bound])
        stream.synchronize()

    return run, 2.0 * width * chains * _TURNS * groups
