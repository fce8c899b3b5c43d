"""Products: MatMul, Gemm, Einsum, and those of bytes."""

from __future__ import annotations

import numpy as np

from tests.onnx_sweep.case import EXACT, SUMS, Draw, Node, Tolerance, sweep


def _factor_sizes(draw: Draw, budget: int = 1_500_000) -> tuple[int, int, int]:
    """m, k, n beside edges, of at most ``budget`` multiplications."""
    sizes = [1, 1, 1]
    left = budget
    for at in draw.rng.permutation(3):
        sizes[at] = draw.size(left)
        left //= sizes[at]
    if draw.chance(0.05):
        sizes[draw.integer(0, 2)] = 0
    return sizes[0], sizes[1], sizes[2]


def _factors(draw: Draw) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Shapes of two factors as NumPy's matmul takes them, and how many terms each sum has."""
    m, k, n = _factor_sizes(draw, 400_000)
    batch = draw.shape(draw.integer(0, 2), 12, empty=0.02) if draw.chance(0.6) else ()
    a, b = (*batch, m, k), (*draw.broadcastable(batch), k, n)
    if draw.chance(0.1):
        a = (k,)
    elif draw.chance(0.1):
        b = (k,)
    return a, b, k


@sweep("MatMul", tolerance=SUMS)
def matmul(draw: Draw) -> Node:
    a, b, k = _factors(draw)
    low, high = (-9, 9) if draw.dtype.kind in "iu" else (-1, 1)
    constants = draw.choose([frozenset(), frozenset({1}), frozenset({0})])
    return Node([draw.values(a, low, high), draw.values(b, low, high)], constants=constants, scale=max(k, 1) ** 0.5)


@sweep("Gemm", tolerance=SUMS)
def gemm(draw: Draw) -> Node:
    m, k, n = _factor_sizes(draw)
    whole = draw.dtype.kind in "iu"
    attrs: dict[str, object] = {}
    for name in ("transA", "transB"):
        if draw.chance(0.5):
            attrs[name] = draw.integer(0, 1)
    for name in ("alpha", "beta"):
        if draw.chance(0.5):
            attrs[name] = float(draw.choose([1, 2, 0]) if whole else draw.choose([0.5, 2.0, -1.0, 0.0]))
    a = (k, m) if attrs.get("transA") else (m, k)
    b = (n, k) if attrs.get("transB") else (k, n)
    low, high = (-9, 9) if whole else (-1, 1)
    arrays = [draw.values(a, low, high), draw.values(b, low, high)]
    if draw.opset < 11 or draw.chance(0.7):
        c = draw.choose([(m, n), (n,), (1, n), (m, 1), (), (1,)])
        arrays.append(draw.values(c, low, high))
    constants = draw.choose([frozenset(), frozenset({1}), frozenset({1, 2}) if len(arrays) > 2 else frozenset({1})])
    return Node(arrays, attrs, constants=constants, scale=2 * max(k, 1) ** 0.5)


_EQUATIONS = (
    "ij,jk->ik", "ij,kj->ik", "ji,jk->ki", "bij,bjk->bik", "bhid,bhjd->bhij", "bhij,bhjd->bhid", "ij->ji", "ij->",
    "ij->i",
    "ii->i", "ii", "iij->j", "i,j->ij", "i,i->", "ij,ij->i", "...ij,...jk->...ik", "...i->...", "bij,jk->bik",
    "abc,cd->abd",
    "bqc,bkc->bqk", "ij,jk,kl->il", "bi,bj,ij->b", "abij,abjk->baik", "nchw,ncow->nhwo", "a...b,b...c->a...c",
    "ab,cd->dacb",
    "i...->...i", "bhwkc,bhwc->bhwk",
)  # fmt: skip


@sweep("Einsum", tolerance=SUMS)
def einsum(draw: Draw) -> Node:
    equation = draw.choose(_EQUATIONS)
    left = equation.split("->")[0]
    letters = sorted(set(left) - set(",."))
    sizes, budget = {}, 200_000
    for letter in draw.rng.permutation(letters):
        sizes[str(letter)] = draw.size(min(budget, 129))
        budget //= sizes[str(letter)]
    more = draw.shape(draw.integer(0, 2), 6, empty=0) if "..." in equation else ()
    arrays, low, high = [], *((-5, 5) if draw.dtype.kind in "iu" else (-1, 1))
    for term in left.split(","):
        shape: list[int] = []
        for part in term.replace("...", "."):
            shape += more if part == "." else [sizes[part]]
        arrays.append(draw.values(shape, low, high))
    terms = float(np.prod([float(v) for v in sizes.values()]))
    text = equation.replace(",", " , ").replace("->", " -> ") if draw.chance(0.2) else equation
    return Node(arrays, {"equation": text}, scale=terms**0.5)


def zero_point(draw: Draw, kind: np.dtype, shape: tuple[int, ...] = ()) -> np.ndarray:
    """A zero point inside the type's range."""
    ends = np.iinfo(kind)
    return draw.rng.integers(ends.min // 2, ends.max // 2 + 1, shape).astype(kind)


@sweep("MatMulInteger", tolerance=EXACT, types=("int8", "uint8"))
def matmul_integer(draw: Draw) -> Node:
    a, b, k = _factors(draw)
    other = np.dtype(draw.choose([np.int8, np.uint8])) if draw.dtype == np.uint8 else np.dtype(np.int8)
    arrays: list[np.ndarray | None] = [draw.values(a, -128, 255), draw.values(b, -128, 255, dtype=other)]
    if draw.chance(0.7):
        arrays.append(zero_point(draw, draw.dtype))
        if draw.chance(0.6):
            columns = (b[-1],) if len(b) == 2 and len(a) == 2 and draw.chance(0.5) else ()
            arrays.append(zero_point(draw, other, columns))
    doubt = "what it returns for sums of no terms is not set" if not k else ""
    return Node(arrays, constants=draw.fixed(*range(1, len(arrays))), doubt=doubt)


BYTES = Tolerance("a quotient that lies between two integers may go to either", steps=1)


@sweep("QLinearMatMul", tolerance=BYTES, types=("int8", "uint8"))
def qlinear_matmul(draw: Draw) -> Node:
    a, b, k = _factors(draw)
    while len(a) < 2 or len(b) < 2:
        a, b, k = _factors(draw)
    other = np.dtype(draw.choose([np.int8, np.uint8])) if draw.dtype == np.uint8 else np.dtype(np.int8)
    columns = (b[-1],) if len(b) == 2 and len(a) == 2 and draw.chance(0.4) else ()
    arrays = [
        draw.values(a, -128, 255), np.float32(0.02), zero_point(draw, draw.dtype),
        draw.values(b, -128, 255, dtype=other), draw.rng.uniform(0.01, 0.03, columns).astype(np.float32),
        zero_point(draw, other, columns), np.float32(0.03 * max(k, 1) ** 0.5), zero_point(draw, draw.dtype),
    ]  # fmt: skip
    doubt = "what it returns for sums of no terms is not set" if not k else ""
    return Node(arrays, constants=draw.fixed(1, 2, 3, 4, 5, 6, 7, probability=0.7), doubt=doubt)
