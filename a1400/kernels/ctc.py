"""Connectionist temporal classification (Graves and others, 2006): all ways to say a row's labels, forwards and back.

A row's labels with blanks around each are L = 2 S + 1 positions.  A path is at the first or second of them at time 0,
stays or goes on by one - or two, where ``jumps`` says so - from a time to the next, and ends at the last or last but
one.  All sums are of logarithms; both kernels take one work-group for each row, and no sum depends on how many
work-items it has.  All buffers are dense.

====================  ================================================================================================
parameter             meaning
====================  ================================================================================================
scores: T             [B, T, L] the logarithm of each position's probability at each time
jumps: i32            [B, L] 1 where a path may come from two positions before
times lengths: i32    [B] times and labels of each row, taken as 0 or T and S where outside
alpha: T              [B, T, L] the logarithm of what all paths to a position have gathered, ``-inf`` beyond a row's end
loss: T               [B] minus the logarithm of the sum over all paths; ``inf`` where there is none
y: T                  [B, T, L] (``ctc_gradient``) the loss's gradient by scores: minus the share of the paths that pass
                      there; 0 where the loss is ``inf``
====================  ================================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from a1400 import dtypes
from a1400.backends.base import Grid
from a1400.kernels.geometry import runs
from a1400.kernels.spec import Case, KernelSpec, Scalars, Tunable, Tunables, Variant, params, register

_REAL = tuple(dtypes.from_short(n) for n in ("f32", "f64"))


def _join(*parts: np.ndarray) -> np.ndarray:
    top = np.maximum.reduce(parts)
    base = np.where(top == -np.inf, 0, top)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(base + np.log(sum(np.exp(part - base) for part in parts)))


def _extent(shape: tuple[int, ...], times: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, steps, positions = shape
    return np.clip(times, 0, steps), 2 * np.clip(lengths, 0, positions // 2) + 1


def forward(
    scores: np.ndarray, jumps: np.ndarray, times: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(loss, alpha) with NumPy in float64."""
    x = np.asarray(scores, np.float64)
    rows, steps, positions = x.shape
    ends, used = _extent(x.shape, times, lengths)
    nowhere = np.full((rows, 2), -np.inf)
    alpha = np.full(x.shape, -np.inf)
    place = np.arange(positions)
    for t in range(steps):
        if t == 0:
            found = np.where(place < 2, 0.0, -np.inf) + np.zeros((rows, 1))
        else:
            wide = np.concatenate([nowhere, alpha[:, t - 1]], 1)
            found = _join(wide[:, 2:], wide[:, 1:-1], np.where((jumps != 0) & (place > 1), wide[:, :-2], -np.inf))
        inside = (place < used[:, None]) & (t < ends)[:, None]
        alpha[:, t] = np.where(inside, found + x[:, t], -np.inf)
    loss = np.where(used == 1, 0.0, np.inf)
    for row in np.flatnonzero(ends):
        last = np.concatenate([nowhere[0], alpha[row, ends[row] - 1]])[used[row] : used[row] + 2]
        loss[row] = -_join(last[1:], last[:1])[0]
    return loss, alpha


def backward(
    scores: np.ndarray, jumps: np.ndarray, times: np.ndarray, lengths: np.ndarray, loss: np.ndarray, alpha: np.ndarray
) -> np.ndarray:
    """The gradient by the scores, with NumPy in float64."""
    x = np.asarray(scores, np.float64)
    rows, steps, positions = x.shape
    ends, used = _extent(x.shape, times, lengths)
    place = np.arange(positions)
    beta = np.full((rows, positions + 2), -np.inf)
    result = np.zeros(x.shape)
    may = np.pad(np.not_equal(jumps, 0), ((0, 0), (0, 2)))[:, 2:]
    for t in reversed(range(steps)):
        inside = place < used[:, None]
        on = _join(beta[:, :-2], beta[:, 1:-1], np.where(may, beta[:, 2:], -np.inf))
        end = np.where(place >= used[:, None] - 2, 0.0, -np.inf)
        found = np.where(ends[:, None] == t + 1, end, on) + x[:, t]
        beta[:, :-2] = np.where(inside & (t < ends)[:, None], found, -np.inf)
        a, b, whole = alpha[:, t].astype(np.float64), beta[:, :-2], np.asarray(loss, np.float64)[:, None]
        passed = inside & (t < ends)[:, None] & (a != -np.inf) & (b != -np.inf) & (whole != np.inf)
        with np.errstate(invalid="ignore"):
            share = np.where(passed, np.exp(a - x[:, t] + b + whole), 0)
            total = share.sum(1, keepdims=True)
            result[:, t] = -share / np.where(total > 0, total, 1)  # 1 but for the rounding of what came in
    return result


def _shaped(
    arrays: Mapping[str, np.ndarray], s: Scalars
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    b, t, positions = int(s["B"]), int(s["T_len"]), int(s["L"])
    return (
        arrays["scores"].reshape(b, t, positions), arrays["jumps"].reshape(b, positions), arrays["times"],
        arrays["lengths"],
    )  # fmt: skip


def _forward_reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    loss, alpha = forward(*_shaped(arrays, s))
    return {"alpha": alpha, "loss": loss}


def _backward_reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    scores, jumps, times, lengths = _shaped(arrays, s)
    loss, alpha = arrays["loss"].reshape(-1), arrays["alpha"].reshape(scores.shape)
    return {"y": backward(scores, jumps, times, lengths, loss, alpha)}


def _case(
    name: str, back: bool, steps: int, labels: int, times: tuple[int, ...], lengths: tuple[int, ...], t: str = "f32",
    bad: tuple[float, ...] = (),
) -> Case:  # fmt: skip
    rows, positions, dtype = len(times), 2 * labels + 1, dtypes.from_short(t)
    rng = np.random.default_rng(steps)
    raw = rng.normal(0, 2, (rows, steps, positions + 3))
    scores = (raw - np.log(np.exp(raw).sum(-1, keepdims=True)))[..., :positions].astype(dtype)
    scores.reshape(-1)[1 : 1 + len(bad)] = bad
    jumps = np.zeros((rows, positions), np.int32)
    jumps[:, 3::2] = rng.integers(0, 2, jumps[:, 3::2].shape)
    arrays = {
        "scores": scores, "jumps": jumps, "times": np.array(times, np.int32), "lengths": np.array(lengths, np.int32),
    }  # fmt: skip
    outputs = {"alpha": (scores.shape, "T"), "loss": ((rows,), "T")}
    if back:
        loss, alpha = forward(scores, jumps, arrays["times"], arrays["lengths"])
        arrays |= {"loss": loss.astype(dtype), "alpha": alpha.astype(dtype)}
        outputs = {"y": (scores.shape, "T")}
    return Case(name, arrays, {"B": rows, "T_len": steps, "L": positions}, outputs, {"T": dtype})


def _cases(back: bool) -> Iterator[Case]:
    yield _case("one", back, 1, 1, (1,), (1,))
    yield _case("blanks", back, 3, 0, (3, 0), (0, 0))
    yield _case("ragged", back, 11, 4, (11, 7, 3, 0, 99, 11), (4, 2, 4, 1, 3, 0))
    yield _case("wide", back, 70, 66, (70, 66), (30, 66))
    yield _case("minus_inf", back, 5, 2, (5, 5), (2, 1), bad=(-np.inf, 0.0, -np.inf))
    yield _case("nan", back, 5, 2, (5, 5), (2, 1), bad=(np.nan,))
    yield _case("f64", back, 9, 3, (9, 8), (3, 2), t="f64")


def _geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (int(s["B"]), 1, 1), (t["GROUP"], 1, 1)


def _spec(back: bool) -> KernelSpec:
    buffers = "in loss: T\nin alpha: T\nout y: T" if back else "out loss: T\nout alpha: T"
    name = "ctc_gradient" if back else "ctc"
    return KernelSpec(
        name=name,
        doc=f"CTC over a row's labels with blanks around them, {'backwards' if back else 'forwards'}",
        params=params(
            f"in scores: T\nin jumps: i32\nin times: i32\nin lengths: i32\n{buffers}\nint B\nint T_len\nint L"
        ),
        variants=(
            Variant(
                "group", "any", _geometry,
                (Tunable("GROUP", 64, (16, 32, 64, 128, 256), "work-items that share a row's positions"),),
                requires=runs,
            ),
        ),
        reference=_backward_reference if back else _forward_reference,
        cases=lambda: _cases(back),
        types={"T": _REAL},
        exact=False,
        tolerance={"f32": (1e-4, 1e-5), "f64": (1e-9, 1e-10)},
        flops=lambda s: 40.0 * s["B"] * s["T_len"] * s["L"],
        bytes=lambda s: (24.0 if back else 12.0) * s["B"] * s["T_len"] * s["L"],
    )  # fmt: skip


FORWARD, BACKWARD = register(_spec(False)), register(_spec(True))
