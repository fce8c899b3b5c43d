"""A kernel whose answer depends on what its output held before: right by chance the first time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from a1400.kernels.spec import Case, Data, KernelSpec, Variant, params, register


def _cases() -> Iterator[Case]:
    shape = (500,)
    yield Case("n500", {"x": Data(shape, "f32")}, {"n": 500}, {"y": (shape, "f32")}, {"T": np.dtype(np.float32)})


register(
    KernelSpec(
        name="planted_unsteady",
        doc="y = x, plus one where y did not hold the conformance check's usual poison.",
        types={"T": (np.dtype(np.float32),)},
        params=params("in x: T\nout y: T\nint n"),
        variants=(
            Variant(
                "any", "any", lambda s, t: (((int(s["n"]) + 63) // 64, 1, 1), (64, 1, 1)), backends=("opencl",),
                source=str(Path(__file__).with_name("unsteady")),
            ),
        ),
        reference=lambda arrays, scalars, case: {"y": arrays["x"]},
        cases=_cases,
    )
)  # fmt: skip
