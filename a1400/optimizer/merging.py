"""``merging``: products of the same rows with several constant matrices become one product, read through slices.

Queries, keys and values of attention are three products of one input.  As one they are one launch whose shares are more
even, which has its start and its end once, and whose weights are one long stream.  What reads them must not mind that
they are slices: heads are read by strides, and reshapes and transposes of them are views; a pointwise operation on a
product would have been its epilogue, so such a product stays as it is.  Biases join too.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from a1400.graph.graph import Graph, Node, Value
from a1400.kernels.gemm_pack import PANEL
from a1400.memory.storage import dense_strides, reshape_strides
from a1400.ops import OPS
from a1400.optimizer.memo import constant
from a1400.optimizer.recognition.match import is_single
from a1400.optimizer.rewriter import Context, merge_sources

#: readers that take a slice as it lies once it has been split into heads
_STRIDED = frozenset({"attention", "attention_gradient", "concat", "slice"})


@dataclass
class _Branch:
    """A product, the sum with its bias if there is one, and what takes its place: the last value."""

    product: Node
    bias: Value | None
    last: Value

    @property
    def weight(self) -> Value:
        value = self.product.inputs[1]
        assert value is not None
        return value

    @property
    def columns(self) -> int:
        return self.weight.shape[1]


class _Merger:
    def __init__(self, ctx: Context) -> None:
        self.ctx, self.graph = ctx, ctx.graph
        self.users = ctx.graph.users()
        self.outputs = {id(v) for v in ctx.graph.outputs.values()}

    def run(self) -> None:
        groups: dict[int, list[_Branch]] = {}
        for node in self.graph.nodes:
            if _is_candidate(node) and (branch := self._branch(node)) is not None:
                groups.setdefault(id(node.inputs[0]), []).append(branch)
        joined: dict[int, list[Node]] = {}  # first product -> what stands in its place
        replaced: dict[int, Value] = {}
        for branches in groups.values():
            # a matrix that does not fill its last panel must be the last one
            whole = [b for b in branches if b.columns % PANEL == 0]
            chosen = [*whole, *[b for b in branches if b.columns % PANEL][:1]]
            if len(chosen) > 1:
                first = min(chosen, key=lambda b: self.graph.nodes.index(b.product))
                joined[id(first.product)] = self._join(chosen, replaced)
                self.ctx.count(len(chosen))
                self.ctx.result.notes.append(f"{len(chosen)} products: {' + '.join(str(b.columns) for b in chosen)}")
        if not joined:
            return
        self.graph.nodes = [n for node in self.graph.nodes for n in (*joined.get(id(node), ()), node)]
        self.graph.replace(replaced)
        self.graph.remove_dead()

    def _branch(self, product: Node) -> _Branch | None:
        branch = _Branch(product, None, product.output)
        readers = self.users.get(id(product.output), [])
        if len(readers) == 1 and readers[0].op == "add" and id(product.output) not in self.outputs:
            (add,) = readers
            bias = next((v for v in add.inputs if v is not product.output), None)
            if bias is not None and _is_row(bias, branch.columns) and add.output.shape == product.output.shape:
                branch = _Branch(product, bias, add.output)
        return branch if self._may_be_slice(branch.last) else None

    def _may_be_slice(self, value: Value) -> bool:
        """Whether all that is done with ``value`` can be done with columns of a wider matrix, for nothing."""
        row = 2 * value.shape[-1]  # any row that is longer than the columns used of it
        strides = [row * s for s in dense_strides(value.shape[:-1])]
        return id(value) not in self.outputs and all(
            node.op in ("reshape", "transpose") and self._reads_heads(node, (*strides, 1))
            for node in self.users.get(id(value), [])
        )

    def _reads_heads(self, node: Node, strides: tuple[int, ...]) -> bool:
        """Whether a reshape (or transpose) gives a view, and all that follows it reads views."""
        x = node.inputs[0]
        assert x is not None
        if id(node.output) in self.outputs:
            return False
        if node.op == "transpose":
            strides = tuple(strides[p] for p in node.attrs["perm"])
        elif (found := reshape_strides(x.shape, strides, node.output.shape)) is not None:
            strides = found
        else:
            return False
        return all(
            self._reads_heads(reader, strides) if reader.op in ("reshape", "transpose") else _reads_views(reader)
            for reader in self.users.get(id(node.output), [])
        )

    def _join(self, branches: list[_Branch], replaced: dict[int, Value]) -> list[Node]:
        """The nodes of the joined product; ``replaced`` says which slice stands for which value."""
        x = branches[0].product.inputs[0]
        assert x is not None
        sources = merge_sources(*(b.product.sources for b in branches))
        graph = Graph()
        graph.source = sources
        whole = graph.op("matmul_joined", x, *(b.weight for b in branches))
        if any(b.bias is not None for b in branches):
            adds = [b.last.producer.sources for b in branches if b.bias is not None and b.last.producer is not None]
            graph.source = merge_sources(*adds)
            whole = graph.op("add", whole, self._biases(branches))
        start = 0
        for branch in branches:
            shape = (*whole.shape[:-1], branch.columns)
            starts = (*(0 for _ in shape[:-1]), start)
            graph.source = branch.product.sources
            part = graph.op("slice", whole, starts=starts, shape=shape, steps=(1,) * len(shape))
            replaced[id(branch.last)] = part
            start += branch.columns
        return graph.nodes

    def _biases(self, branches: list[_Branch]) -> Value:
        """All biases as one vector; zeros for products without."""
        arrays = [None if b.bias is None else b.bias.data for b in branches]
        dtype = branches[0].product.output.dtype

        def make() -> list[np.ndarray]:
            rows = [np.zeros(b.columns) if a is None else a.reshape(-1) for b, a in zip(branches, arrays, strict=True)]
            return [np.concatenate(rows).astype(dtype)]

        key = ("joined biases", tuple(b.columns for b in branches), tuple(a is None for a in arrays))
        (vector,) = self.ctx.memo.derive(key, [a for a in arrays if a is not None], make)
        return constant(self.ctx.memo, vector)


def _is_candidate(node: Node) -> bool:
    if node.op != "matmul" or {"prologue", "epilogue"} & set(node.attrs):
        return False
    x, w = node.inputs[:2]
    assert x is not None and w is not None
    return x.data is None and x.rank > 1 and w.data is not None and w.rank == 2 and is_single(w.dtype) and w.size > 0


def _is_row(bias: Value, columns: int) -> bool:
    return bias.data is not None and prod(bias.shape) == columns and bias.shape[-1:] == (columns,)


def _reads_views(reader: Node) -> bool:
    return reader.op in _STRIDED or OPS[reader.op].pointwise


def merging(ctx: Context) -> None:
    """Join products that read the same rows; only CPUs have a layout in which the weights join without a copy."""
    if ctx.info is None or ctx.info.kind == "cpu":
        _Merger(ctx).run()
