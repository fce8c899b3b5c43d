"""Probabilities of k classes from those of all their pairs.

``r`` [rows, k, k] holds in (i, j) how probable class i is where it is i or j (the diagonal is not read).  ``p``
[rows, k] minimises the sum over all pairs of (r_ji p_i - r_ij p_j)^2 with a sum of 1, by the iteration that Wu, Lin and
Weng give ("Probability estimates for multi-class classification by pairwise coupling", 2004, second method), until no
component of the gradient is further than 0.005 / k from its mean, and at most max(100, k) times.  ``q`` [rows, k] is
the work-item's own: Q p, where Q_ii is the sum of r_ji^2 over j and Q_ij = -r_ij r_ji.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from a1400.kernels.gather import GROUP, per_element
from a1400.kernels.spec import Case, KernelSpec, Scalars, Variant, params, register

_F32 = np.dtype(np.float32)


def coupled(r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``p`` and ``q`` [rows, k] of ``r`` [rows, k, k], in the type of ``r``."""
    rows, k, _ = r.shape
    off = np.where(np.eye(k, dtype=bool), r.dtype.type(0), r)
    q = -off * off.transpose(0, 2, 1)
    q[:, range(k), range(k)] = (off * off).sum(1)
    p, gradient = np.full((rows, k), 1 / k, r.dtype), np.zeros((rows, k), r.dtype)
    for row in range(rows):
        for _ in range(max(100, k)):
            qp = q[row] @ p[row]
            whole = p[row] @ qp
            if np.abs(qp - whole).max() < 0.005 / k:
                break
            for t in range(k):
                step = (whole - qp[t]) / q[row, t, t]
                p[row, t] += step
                whole = (whole + step * (step * q[row, t, t] + 2 * qp[t])) / (1 + step) ** 2
                qp = (qp + step * q[row, t]) / (1 + step)
                p[row] /= 1 + step
        gradient[row] = qp
    return p, gradient


def _reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> Mapping[str, np.ndarray]:
    return dict(zip("pq", coupled(arrays["r"].astype(np.float64))))


def _case(name: str, rows: int, k: int) -> Case:
    # pairs that one distribution explains nearly, so that the iteration ends where rounding does not decide
    rng = np.random.default_rng(6)
    wanted = rng.uniform(0.2, 1.0, (rows, k))
    r = wanted[:, :, None] / (wanted[:, :, None] + wanted[:, None])
    r = np.clip(r + rng.normal(0, 0.02, (rows, k, k)), 0.01, 0.99)
    upper = np.triu(np.ones((k, k), bool), 1)
    r = np.where(upper, r, 1 - r.transpose(0, 2, 1)).astype(np.float32)
    r[:, range(k), range(k)] = np.nan
    made = {"p": ((rows, k), "T"), "q": ((rows, k), "T")}
    return Case(name, {"r": r}, {"R": rows, "k": k}, made, {"T": _F32}, exact=False)


def _cases() -> Iterator[Case]:
    yield _case("two", 3, 2)
    yield _case("three", 70, 3)
    yield _case("eleven", 5, 11)


PAIRWISE_COUPLING = register(
    KernelSpec(
        name="pairwise_coupling",
        doc="probabilities of classes from those of their pairs",
        params=params("""
            in r: T
            out p: T
            out q: T
            int R
            int k
        """),
        variants=(Variant("any", "any", lambda s, t: per_element(int(s["R"]), t), GROUP),),
        reference=_reference,
        cases=_cases,
        types={"T": (_F32,)},
        exact=False,
        tolerance={"f32": (3e-3, 3e-3)},
    )
)
