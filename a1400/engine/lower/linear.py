"""Matrix products.

CPUs get blocked kernels.  Constant weights are packed once per model; a run-time B is read in place where its rows are
contiguous, and packed by a launch where its columns are (a transposed weight) - once for all products that read it so.
A is read by rows or by columns.  GPUs and types without a blocked kernel read their operands in place through strides;
where CUDA's tensor cores want rows in units of 16 bytes and a constant weight has none, it is transposed once per model
if its columns do.  Deep products with few results are cut along the depth (:mod:`a1400.engine.lower.depth`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from a1400 import tuning
from a1400.engine.lower.depth import emit_in_parts
from a1400.engine.lower.product import Product
from a1400.engine.lower.slots import Filled, with_epilogue
from a1400.engine.lowering import Lowering, lowers, split_inputs
from a1400.engine.updates import VIEW_OPS
from a1400.graph.graph import Node, Value
from a1400.kernels import gemm as gemm_kernels
from a1400.kernels import gemm_choice, gemm_pack, gemm_tensor
from a1400.kernels.gemm_depth import depth_parts
from a1400.memory.storage import View, collapse_group


def uses_packed(lw: Lowering, dtype: np.dtype) -> bool:
    """Whether this device multiplies ``dtype`` with the blocked CPU kernels."""
    blocked = (*gemm_kernels._SMALL_FLOATS, *gemm_kernels.BYTES)
    return lw.info.kind == "cpu" and lw.info.backend == "opencl" and dtype in blocked


@lowers("matmul")
def _matmul(lw: Lowering, node: Node) -> None:
    own, _, _ = split_inputs(node)
    a_value, b_value = own
    assert a_value is not None and b_value is not None
    a, b = lw.view(a_value), lw.view(b_value)
    if len(a.shape) == 1:
        a = _unsqueezed(a, 0)
    if len(b.shape) == 1:
        b = _unsqueezed(b, 1)
    batch = tuple(int(d) for d in np.broadcast_shapes(a.shape[:-2], b.shape[:-2]))
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    out_shape = (*batch, m, n)
    constant = b_value if b_value.is_constant and all(d == 1 for d in b.shape[:-2]) else None
    shared = all(d == 1 for d in b.shape[:-2])
    rank = len(out_shape)
    rows = list(range(rank - 1))
    product_shape = (int(np.prod(batch, dtype=np.int64)) * m, n) if shared else out_shape

    def fits(view: View) -> bool:
        product = view.reshape(product_shape)
        return product is not None and (product.strides[-1] == 1 or n == 1)

    target = lw.result(node.output, fits).reshape(product_shape)
    assert target is not None
    if shared:
        # one B for the whole batch: rows of all batches form one tall matrix
        folded = a.expand((*batch, m, k)).reshape((int(np.prod(batch, dtype=np.int64)) * m, k))
        if folded is None:
            folded = lw.dense_view(a.expand((*batch, m, k))).reshape((int(np.prod(batch, dtype=np.int64)) * m, k))
        assert folded is not None
        a, b = folded, View(b.storage, b.dtype, b.shape[-2:], b.strides[-2:], b.offset)
        groups: list[list[int]] = [[], rows, [rank - 1]]
        a_groups: list[list[int]] = [[], rows, [rank - 1]]
    else:
        a, b = a.expand((*batch, m, k)), b.expand((*batch, k, n))
        groups = [rows[:-1], [rank - 2], [rank - 1]]
        a_groups = groups
    slots: dict[str, Filled] = {}
    if (epilogue := lw.attached(node, "epilogue", out_shape, groups)) is not None:
        slots["EPILOGUE"] = epilogue
    if (prologue := lw.attached(node, "prologue", (*batch, m, k), a_groups)) is not None:
        slots["PROLOGUE"] = prologue
    emit_product(lw, Product(a, b, target, constant, slots, _elements_of(b_value)))


def emit_product(lw: Lowering, p: Product, packed: View | None = None) -> None:
    """Launch a product; operands are copied only when no kernel can read them in place.

    ``packed`` is B already packed, for callers that keep it so.
    """
    if p.c.size == 0:
        return
    if packed is None and p.b_constant is None and len(p.c.shape) == 2:
        parts = depth_parts(lw.info, p.c.shape[0], p.a.shape[-1], p.c.shape[1])
        if parts > 1:
            emit_in_parts(lw, p, parts, _emit_whole)
            return
    _emit_whole(lw, p, packed)


def _emit_whole(lw: Lowering, p: Product, packed: View | None = None) -> None:
    p = replace(p, b=_in_units(lw, p))
    acc = gemm_kernels.accumulator(p.a.dtype)
    slots = with_epilogue(p.slots, acc, p.c.dtype)
    types = {"TA": p.a.dtype, "TB": p.b.dtype, "TC": p.c.dtype, "ACC": acc}
    batch = p.c.shape[:-2]
    two = _two_levels(batch, [p.a, p.b, p.c])
    if two is None:
        a, b = lw.dense_view(_materialised(lw, p.a)), lw.dense_view(_materialised(lw, p.b))
        p = replace(p, a=a, b=b, slots=slots)
        two = _two_levels(batch, [p.a, p.b, p.c])
        assert two is not None
    (nb0, nb1), (sa, sb, sc) = two
    m, k, n = p.a.shape[-2], p.a.shape[-1], p.b.shape[-1]
    scalars: dict[str, int | float] = {
        "M": m, "N": n, "K": k, "nb0": nb0, "nb1": nb1,
        "a_off": p.a.offset, "a_b0": sa[0], "a_b1": sa[1], "a_m": p.a.strides[-2], "a_k": p.a.strides[-1],
        "c_off": p.c.offset, "c_b0": sc[0], "c_b1": sc[1], "c_m": p.c.strides[-2],
    }  # fmt: skip
    strided = {
        "b_off": p.b.offset, "b_b0": sb[0], "b_b1": sb[1], "b_k": p.b.strides[-2], "b_n": p.b.strides[-1],
    }  # fmt: skip
    blocked = uses_packed(lw, p.a.dtype)
    whole = p.a.dtype in gemm_kernels.BYTES  # read by rows, from panels of B
    by_columns = not whole and 1 in (p.a.strides[-2], m)
    if blocked and not by_columns and 1 not in (p.a.strides[-1], k):
        _emit_whole(lw, replace(p, a=lw.dense_view(_materialised(lw, p.a))), packed)
        return
    in_place = not whole and gemm_kernels.reads_in_place(scalars | strided)
    in_panels = packed is not None or p.b_constant is not None or not in_place
    if blocked and in_panels:
        b0 = b1 = 0
        if packed is None:
            packed, b0, b1 = _packed_b(lw, p, (nb0, nb1), sb)
        scalars |= {"b_off": 0, "b_b0": b0, "b_b1": b1}
        tunables = gemm_kernels.choose_tunables(lw.info, scalars)
        buffers = {"a": p.a.ref(), "b": packed.ref(), "c": p.c.ref()}
        lw.launch("gemm_packed", types, buffers, scalars, tunables=tunables, slots=slots)
        return
    scalars |= strided
    gemm = gemm_kernels.gemm
    variant, tile = gemm_choice.plan_product(gemm, lw.info, types, scalars, slots, lw.allow)
    if variant.kind == "cpu":
        tile = dict(gemm_kernels.choose_tunables(lw.info, scalars))
    else:
        tile = dict(tuning.lookup(lw.info, gemm, variant, types, scalars)) or tile
    buffers = {"a": p.a.ref(), "b": p.b.ref(), "c": p.c.ref()}
    lw.launch("gemm", types, buffers, scalars, variant=variant.name, tunables=tile, slots=slots)


def _packed_b(lw: Lowering, p: Product, counts: tuple[int, int], strides: tuple[int, int]) -> tuple[View, int, int]:
    k, n = p.b.shape[-2:]
    if p.b_constant is not None and p.b_constant.data is not None:
        return lw.packed(p.b_constant, ("pack_b",), _pack_weight), 0, 0
    # axes along which B repeats are packed once
    nb0, nb1 = (c if s else 1 for c, s in zip(counts, strides, strict=True))
    size = gemm_pack.packed_size(k, n)

    def pack() -> View:
        packed = lw.temporary((nb0, nb1, size), p.b.dtype)
        lw.launch(
            "gemm_pack", {"T": p.b.dtype}, {"b": p.b.ref(), "packed": packed.ref()},
            {"K": k, "N": n, "nb0": nb0, "nb1": nb1, "b_off": p.b.offset, "b_b0": strides[0], "b_b1": strides[1],
             "b_k": p.b.strides[-2], "b_n": p.b.strides[-1], "p_off": 0, "p_b0": nb1 * size, "p_b1": size},
        )  # fmt: skip
        return packed

    if p.b_source is None:
        packed = pack()
    else:
        lies = (id(p.b.storage), p.b.offset, p.b.shape, p.b.strides, nb0, nb1, strides)
        packed = lw.derived(p.b_source, f"gemm_pack {lies}", pack)
    return packed, nb1 * size if strides[0] else 0, size if strides[1] else 0


def _elements_of(value: Value) -> Value:
    """The value of which ``value`` is a view."""
    while value.producer is not None and value.producer.op in VIEW_OPS:
        source = value.producer.inputs[0]
        assert source is not None
        value = source
    return value


def _in_units(lw: Lowering, p: Product) -> View:
    """B as the tensor cores of this device read it fastest, if it is a constant that can be laid out anew."""
    weight = p.b_constant
    unit = gemm_tensor.unit_elements(lw.info, p.a.dtype, p.b.dtype, lw.allow)
    if weight is None or weight.data is None or not unit or len(p.b.shape) != 2:
        return p.b
    k, n = p.b.shape
    if n % unit == 0 or k % unit or n == 1 or p.b.strides[-1] != 1:
        return p.b
    columns = lw.packed(weight, ("gemm_columns",), _columns)
    return View(columns.storage, columns.dtype, (k, n), (1, k))


def _columns(weight: np.ndarray) -> np.ndarray:
    """A constant B [..., K, N] as [N, K]."""
    return weight.reshape(weight.shape[-2:]).T


def _pack_weight(weight: np.ndarray) -> np.ndarray:
    """A constant B packed: a vector is one column, leading axes of size 1 go."""
    return gemm_pack.pack_b(weight.reshape(weight.shape[-2:]) if weight.ndim > 1 else weight[:, None])


def _two_levels(batch: tuple[int, ...], views: Sequence[View]) -> tuple[tuple[int, int], list[tuple[int, int]]] | None:
    """Batch axes as two counts with two strides per view, or None when some view needs more."""
    axes = list(range(len(batch)))
    for cut in range(len(axes), -1, -1):
        strides = []
        for view in views:
            outer = collapse_group(batch, view.strides, axes[:cut])
            inner = collapse_group(batch, view.strides, axes[cut:])
            if outer is None or inner is None:
                break
            strides.append((outer, inner))
        else:
            counts = (int(np.prod(batch[:cut], dtype=np.int64)), int(np.prod(batch[cut:], dtype=np.int64)))
            return counts, strides
    return None


def _materialised(lw: Lowering, view: View) -> View:
    """A dense copy of an expanded view (its broadcasts written out)."""
    if view.is_dense:
        return view
    target = lw.temporary(view.shape, view.dtype)
    lw.copy(view, target)
    return target


def _unsqueezed(view: View, axis: int) -> View:
    shape, strides = list(view.shape), list(view.strides)
    shape.insert(axis, 1)
    strides.insert(axis, 0)
    return View(view.storage, view.dtype, tuple(shape), tuple(strides), view.offset)
