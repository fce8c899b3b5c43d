"""Boxes that are kept because they overlap little with better ones.

``boxes`` holds R rows of n boxes, best first, each ``low y, low x, high y, high x``.  In row r the first ``valid[r]``
take part.  From the best on, a box is kept unless the area that it shares with a kept one is more than ``threshold[0]``
of the area of both together; at most ``limit[0]`` are kept.  Boxes without area share nothing.  ``keep`` is 1 or 0.

One group per row: its work-items strike out what overlaps with the box kept last, each its own boxes, so there is one
barrier for each box kept (greedy suppression; Neubeck and Van Gool, "Efficient Non-Maximum Suppression", 2006).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from a1400 import dtypes
from a1400.backends.base import Grid
from a1400.kernels.geometry import runs
from a1400.kernels.spec import Case, Data, KernelSpec, Scalars, Tunable, Tunables, Variant, params, register


def keep_boxes(boxes: np.ndarray, valid: int, limit: int, threshold: float) -> np.ndarray:
    """The rule for one row ``[n, 4]``: 1 for each box that is kept, as i32."""
    keep = np.zeros(len(boxes), np.int32)
    zero = boxes.dtype.type(0)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for i in range(min(valid, len(boxes))):
        kept = np.flatnonzero(keep)
        if len(kept) >= limit:
            break
        high, low = np.minimum(boxes[i, 2:], boxes[kept, 2:]), np.maximum(boxes[i, :2], boxes[kept, :2])
        side = np.maximum(high - low, zero)
        shared = side[:, 0] * side[:, 1]
        both = area[i] + area[kept] - shared
        touching = (shared > 0) & (area[i] > 0) & (area[kept] > 0) & (both > 0)
        with np.errstate(all="ignore"):
            keep[i] = not np.any(touching & (shared / both > threshold))
    return keep


def _reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> Mapping[str, np.ndarray]:
    limit, threshold = int(arrays["limit"][0]), float(arrays["threshold"][0])
    rows = zip(arrays["boxes"], arrays["valid"])
    return {"keep": np.stack([keep_boxes(boxes, int(valid), limit, threshold) for boxes, valid in rows])}


def _boxes(rows: int, n: int, span: int) -> np.ndarray:
    """Boxes on whole numbers in a square of ``span``, so that their areas are exact in every type."""
    rng = np.random.default_rng(3)
    low, side = rng.integers(0, span, (rows, n, 2)), rng.integers(0, 5, (rows, n, 2))
    return np.concatenate([low, low + side], axis=2)


def _case(name: str, rows: int, n: int, limit: int, valid: int, span: int = 8, t: str = "f32") -> Case:
    dtype = dtypes.from_short(t)
    arrays: dict[str, Data | np.ndarray] = {
        "boxes": _boxes(rows, n, span).astype(dtype),
        "valid": np.array([max(valid - 3 * r, 0) for r in range(rows)], np.int32),
        "limit": np.array([limit], np.int32), "threshold": np.array([0.3]).astype(dtype),
    }  # fmt: skip
    return Case(name, arrays, {"R": rows, "n": n}, {"keep": ((rows, n), "i32")}, {"T": dtype})


def _cases() -> Iterator[Case]:
    yield _case("one", 1, 1, 1, 1)
    yield _case("rows", 5, 37, 40, 37)
    yield _case("limit", 3, 150, 4, 150, span=30)
    yield _case("none", 2, 9, 0, 9)
    yield _case("half", 2, 70, 99, 70, t="f16")
    yield _case("double", 2, 70, 99, 70, t="f64")


def _groups(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (int(s["R"]) if s["n"] else 0, 1, 1), (t["GROUP"], 1, 1)


_OWNERS = "work-items per row"

NON_MAX_SUPPRESSION = register(
    KernelSpec(
        name="non_max_suppression",
        doc="which of n boxes, best first, are kept by greedy suppression; one row per batch entry and class",
        params=params("""
            in boxes: T
            in valid: i32
            in limit: i32
            in threshold: T
            out keep: i32
            int R
            int n
        """),
        variants=(
            Variant("cpu", "cpu", _groups, (Tunable("GROUP", 16, (8, 16, 32), _OWNERS),), requires=runs),
            Variant("gpu", "any", _groups, (Tunable("GROUP", 128, (64, 128, 256), _OWNERS),), requires=runs),
        ),
        reference=_reference,
        cases=_cases,
        types={"T": dtypes.FLOATS},
    )
)
