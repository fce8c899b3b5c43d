"""Softmax cross-entropy of rows: the loss, the logarithm of the sum of exponentials, and the weight of each row.

=========================  ===========================================================================================
``cross_entropy_sparse``   target[row] is a class number (TI): loss = lse - x[target], weight 1; both are 0 where it is
                           ``ignored``, and a class outside 0 .. n - 1 gives a NaN loss
``cross_entropy_dense``    target (T) is a row itself, ``t_row`` apart from ``t_off`` on: loss = sum of t (lse - x),
                           weight = sum of t; a t of 0 takes no part
=========================  ===========================================================================================

``lse = log(sum(exp(x)))`` over a row of n contiguous elements, rows ``x_row`` apart.  The sum is made block by block
against the largest value so far and scaled when that grows (Milakov and Gimelshein, *Online normalizer calculation for
softmax*, 2018), so that a row comes from memory once.  Outputs are ``[rows]`` of type ACC, the register type of T.  A
row that is all ``-inf``, or holds a NaN or ``+inf``, gives NaN, as PyTorch does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from a1400 import dtypes
from a1400.kernels.gather import INDEX_TYPES
from a1400.kernels.geometry import WIDTH, Reference, cpu_blocks, row_teams, rows_of, runs_vectors
from a1400.kernels.spec import Case, Data, KernelSpec, Scalars, Variant, params, register

#: ``ignored`` where no class is
NONE_IGNORED = -(2**63)
_WIDE = tuple(dtypes.from_short(n) for n in ("f32", "f64"))


def _reference(dense: bool) -> Reference:
    def reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> Mapping[str, np.ndarray]:
        x = np.asarray(rows_of(arrays["x"], s, "x"), np.float64)
        with np.errstate(all="ignore"):
            top = x.max(1, keepdims=True)
            base = np.where(top == -np.inf, 0, top)
            lse = np.log(np.exp(x - base).sum(1, keepdims=True)) + base
            if dense:
                t = np.asarray(rows_of(arrays["target"], s, "t"), np.float64)
                loss, weight = np.where(t == 0, 0, t * (lse - x)).sum(1), t.sum(1)
            else:
                target = arrays["target"].astype(np.int64)
                there = (target >= 0) & (target < x.shape[1])
                given = np.take_along_axis(x, np.where(there, target, 0)[:, None], 1)
                seen = target != int(s["ignored"])
                loss, weight = np.where(seen, np.where(there, (lse - given)[:, 0], np.nan), 0), seen * 1.0
        return {"loss": loss, "lse": lse[:, 0], "weight": weight}

    return reference


_VARIANTS = (
    Variant(
        "cpu", "cpu", lambda s, t: cpu_blocks(int(s["rows"]), int(4 * s["rows"] * s["n"])), backends=("opencl",),
        source="cpu/cross_entropy", vector_width=WIDTH,
        # the class numbers are scalars: 64 bits of them are no matter
        requires=lambda info, types: runs_vectors(info, {k: v for k, v in types.items() if k != "TI"}),
    ),
    *row_teams("cross_entropy"),
)  # fmt: skip


def _case(
    name: str, dense: bool, rows: int, n: int, *, t: str = "f32", gap: int = 0, index: type = np.int64,
    ignored: int = NONE_IGNORED, classes: tuple[int, ...] = (), x: np.ndarray | None = None,
) -> Case:  # fmt: skip
    types = {"T": dtypes.from_short(t)}
    types["ACC"] = dtypes.from_short(dtypes.info(types["T"]).register_short)
    size = 3 + rows * (n + gap)
    scalars: dict[str, int | float] = dict(rows=rows, n=n, x_off=3, x_row=n + gap)
    arrays: dict[str, Data | np.ndarray] = {"x": Data((size,), "T", -4, 4)}
    if x is not None:
        arrays["x"] = np.resize(x, size).astype(types["T"])
    rng = np.random.default_rng(3)
    if dense:
        t_row = n + 2 * gap
        given = rng.uniform(0, 1, (rows, t_row))
        given[:, :n] *= given[:, :n] > 0.3
        arrays["target"] = np.concatenate([[7.0], given.reshape(-1)]).astype(types["T"])
        scalars |= dict(t_off=1, t_row=t_row)
    else:
        types["TI"] = np.dtype(index)
        arrays["target"] = np.resize(classes or rng.integers(0, n, rows), rows).astype(index)
        scalars |= dict(ignored=ignored)
    outputs = {k: ((rows,), "ACC") for k in ("loss", "lse", "weight")}
    return Case(name, arrays, scalars, outputs, types)


_SPECIAL = np.array([0.5, -np.inf, 3.0, -2.0, -np.inf, 88.0, -100.0])


def _cases(dense: bool) -> Iterator[Case]:
    yield _case("one", dense, 1, 1)
    yield _case("short", dense, 9, 10)
    yield _case("ragged", dense, 5, 83, gap=5, index=np.int32)
    yield _case("blocks", dense, 2, 2500)
    yield _case("rising", dense, 2, 2500, x=np.linspace(-900, 900, 5003))
    yield _case("f16", dense, 3, 50, t="f16")
    yield _case("f64", dense, 3, 50, t="f64")
    yield _case("minus_inf", dense, 4, 45, x=_SPECIAL, classes=(0, 2, 1, 6))
    yield _case("all_minus_inf", dense, 2, 45, x=np.array([-np.inf]))
    yield _case("nan", dense, 4, 45, x=np.concatenate([np.arange(50.0), [np.nan]]))
    if not dense:
        yield _case("ignored", dense, 6, 20, classes=(3, -1, 19, -1, 20, -7), ignored=-1)


def _spec(dense: bool) -> KernelSpec:
    target = "in target: T" if dense else "in target: TI"
    last = "int t_off\nint t_row" if dense else "long ignored"
    types = {"T": dtypes.FLOATS, "ACC": _WIDE}
    return KernelSpec(
        name="cross_entropy_dense" if dense else "cross_entropy_sparse",
        doc=f"softmax cross-entropy of rows with {'probabilities' if dense else 'class numbers'}",
        params=params(
            f"in x: T\n{target}\nout loss: ACC\nout lse: ACC\nout weight: ACC\nint rows\nint n\nint x_off\nint x_row\n"
            + last
        ),
        variants=_VARIANTS,
        reference=_reference(dense),
        cases=lambda: _cases(dense),
        types=types if dense else types | {"TI": INDEX_TYPES},
        exact=False,
        flops=lambda s: (14.0 if dense else 11.0) * s["rows"] * s["n"],
        bytes=lambda s: (8.0 if dense else 4.0) * s["rows"] * s["n"],
        defines={"CROSS_DENSE": ""} if dense else {},
    )


SPARSE, DENSE = register(_spec(False)), register(_spec(True))
