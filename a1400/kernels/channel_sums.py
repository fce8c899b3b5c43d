"""Statistics of channels for training: batch normalisation and the gradient of group normalisation.

=========================  ==========================================================================================
``channel_statistics``     in part: ACC, out mean: ACC, out variance: ACC, int N, P, C, S, chunk: from the parts that
                           ``group_norm_partial`` left, for each image and channel
``channel_sums_partial``   in x: T, in g: T, in mean: ACC, out part: ACC, int N, P, C, S, chunk, x_off, x_ld, g_off,
                           g_ld: part[n, s, 0, c] = sum of g, part[n, s, 1, c] = sum of g (x - mean[n, c]), over the
                           pixels of chunk s; ``sum_pairs`` adds the chunks up
=========================  ==========================================================================================

x and g are ``[N, P, C]`` with pixels ``x_ld`` and ``g_ld`` apart, mean is ``[N, C]``; batch statistics are N = 1 and P
= all pixels.  The parts' means and squared distances are combined as in Chan, Golub and LeVeque, *Updating formulae and
a pairwise algorithm for computing sample variances* (1979), in a fixed order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from a1400 import dtypes
from a1400.kernels.geometry import ceil_div, channel_chunks, runs
from a1400.kernels.spec import Case, Data, KernelSpec, Scalars, Variant, params, register

_WIDE = tuple(dtypes.from_short(n) for n in ("f32", "f64"))


def _statistics_reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> Mapping[str, np.ndarray]:
    n, p, c, parts, chunk = (int(s[k]) for k in ("N", "P", "C", "S", "chunk"))
    part = arrays["part"].reshape(n, parts, 2, c)
    count = np.array([min(p, (k + 1) * chunk) - k * chunk for k in range(parts)])[:, None]
    mean = (part[:, :, 0] * count).sum(1) / p
    square = part[:, :, 1] + np.square(part[:, :, 0] - mean[:, None]) * count
    return {"mean": mean, "variance": square.sum(1) / p}


def _statistics_cases() -> Iterator[Case]:
    for name, (n, p, c), chunk, t in (
        ("one", (1, 1, 1), 1, "f32"), ("images", (3, 50, 30), 16, "f32"), ("parts", (1, 90, 70), 2, "f32"),
        ("f64", (2, 9, 5), 4, "f64"),
    ):  # fmt: skip
        s: dict[str, int | float] = dict(N=n, P=p, C=c, S=ceil_div(p, chunk), chunk=chunk)
        part = Data((n, int(s["S"]), 2, c), "ACC", 0.5, 2.0)
        outputs = {"mean": ((n, c), "ACC"), "variance": ((n, c), "ACC")}
        yield Case(name, {"part": part}, s, outputs, {"ACC": dtypes.from_short(t)})


STATISTICS = register(
    KernelSpec(
        name="channel_statistics",
        doc="mean and variance of each channel from group_norm_partial's parts",
        params=params("in part: ACC\nout mean: ACC\nout variance: ACC\nint N\nint P\nint C\nint S\nint chunk"),
        variants=(
            Variant(
                "thread", "any", lambda s, t: ((ceil_div(int(s["N"] * s["C"]), 32), 1, 1), (32, 1, 1)), requires=runs
            ),
        ),
        types={"ACC": _WIDE},
        reference=_statistics_reference,
        cases=_statistics_cases,
        exact=False,
        flops=lambda s: 6.0 * s["N"] * s["S"] * s["C"],
        bytes=lambda s: 16.0 * s["N"] * s["S"] * s["C"],
    )
)  # fmt: skip


def _pixels(flat: np.ndarray, s: Scalars, name: str) -> np.ndarray:
    n, p, c = (int(s[k]) for k in "NPC")
    item, step = flat.itemsize, int(s[f"{name}_ld"]) * flat.itemsize
    return np.lib.stride_tricks.as_strided(flat.reshape(-1)[int(s[f"{name}_off"]) :], (n, p, c), (p * step, step, item))


def _sums_reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> Mapping[str, np.ndarray]:
    x, g = (np.asarray(_pixels(arrays[k], s, k), np.float64) for k in ("x", "g"))
    dots = g * (x - arrays["mean"].reshape(int(s["N"]), 1, int(s["C"])))
    chunk = int(s["chunk"])
    parts = [slice(k * chunk, (k + 1) * chunk) for k in range(int(s["S"]))]
    return {"part": np.stack([np.stack([g[:, p].sum(1), dots[:, p].sum(1)], 1) for p in parts], 1)}


def _sums_cases() -> Iterator[Case]:
    for name, (n, p, c), chunk, gap, t in (
        ("one", (1, 1, 1), 1, 0, "f32"),
        ("narrow", (2, 21, 5), 8, 0, "f32"),
        ("ragged", (3, 20, 151), 16, 6, "f32"),
        ("f16", (2, 23, 40), 11, 0, "f16"),
        ("f64", (2, 9, 5), 4, 1, "f64"),
    ):
        s: dict[str, int | float] = dict(
            N=n, P=p, C=c, S=ceil_div(p, chunk), chunk=chunk, x_off=3, x_ld=c + gap, g_off=1, g_ld=c + 2 * gap
        )
        arrays = {
            "x": Data((3 + n * p * (c + gap),), "T", 1.0, 3.0), "g": Data((1 + n * p * (c + 2 * gap),), "T"),
            "mean": Data((n, c), "ACC", 1.0, 3.0),
        }  # fmt: skip
        types = {"T": dtypes.from_short(t), "ACC": dtypes.from_short("f64" if t == "f64" else "f32")}
        yield Case(name, arrays, s, {"part": ((n, int(s["S"]), 2, c), "ACC")}, types)


SUMS_PARTIAL = register(
    KernelSpec(
        name="channel_sums_partial",
        doc="sums of g and of g (x - mean) per channel of chunks of pixels",
        params=params(
            "in x: T\nin g: T\nin mean: ACC\nout part: ACC\nint N\nint P\nint C\nint S\nint chunk\n"
            "int x_off\nint x_ld\nint g_off\nint g_ld"
        ),
        variants=channel_chunks("channel_sums_partial"),
        reference=_sums_reference,
        cases=_sums_cases,
        types={"T": dtypes.FLOATS, "ACC": _WIDE},
        flops=lambda s: 4.0 * s["N"] * s["P"] * s["C"],
        bytes=lambda s: 8.0 * s["N"] * s["P"] * s["C"],
    )
)  # fmt: skip
