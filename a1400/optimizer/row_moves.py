"""``row_moves``: one gather of rows instead of several copies, where slices are put together again in another order.

Shifting windows (a roll is two slices and a concat along each axis), cutting an image into windows and back, merging
patches: what such a chain does to one tensor is known here, so its rows - the longest runs that stay together - are
gathered by a constant list of their numbers.

Rows of a product that a sum waits for are gathered in front of the product instead, so that the sum can become the
product's epilogue.
"""

from __future__ import annotations

from math import gcd

import numpy as np

from a1400.graph.graph import Node, Value, evaluate_node
from a1400.optimizer.rewriter import Context, Rewriter

MOVES = frozenset(("reshape", "transpose", "slice", "concat"))
#: larger tensors are left alone: the order of all elements is worked out on the host
LARGEST = 1 << 23
#: shorter rows are not copied by whole vectors
SHORTEST = 64  # bytes


def row_moves(ctx: Context) -> None:
    """Replace chains of moves in which something is concatenated, or that stand between a product and a sum."""
    users = ctx.graph.users()
    outputs = {id(value) for value in ctx.graph.outputs.values()}

    def within(value: Value, nodes: set[int]) -> bool:
        """Whether only ``nodes`` read the value; of a value that this walk has made that is not known."""
        return id(value) not in outputs and id(value) in users and all(id(n) in nodes for n in users[id(value)])

    def rule(walk: Rewriter, end: Node) -> Value | None:
        readers = users.get(id(end.output), [])
        if readers and all(n.op in MOVES for n in readers) and id(end.output) not in outputs:
            return None  # the chain goes on
        chain = _chain(end)
        source = _source(chain)
        if source is None or max(source.size, end.output.size) > LARGEST or not end.output.size:
            return None
        inside = {id(n) for n in chain}
        saves = any(n.op == "concat" and (n is end or within(n.output, inside)) for n in chain)
        product = _product(source)
        awaited = product is not None and any(_is_sum(n) for n in readers) and all(
            within(n.output, inside | {id(m) for m in product}) for n in (*product, *chain[:-1])
        )  # fmt: skip
        if not (saves or awaited):
            return None
        rows, size = _rows(chain, source, end)
        if size * source.dtype.itemsize < SHORTEST:
            return None
        sources = tuple(dict.fromkeys(s for n in chain for s in n.sources))
        columns = source.shape[-1] if source.rank else 0
        if awaited and columns == end.output.shape[-1] and size % columns == 0 and (np.diff(rows) != 1).any():
            assert product is not None
            return _before(walk, product, size // columns, rows, end, sources)
        if not saves:
            return None
        moved = _gathered(walk, source, size, rows, sources)
        return walk.op("reshape", moved, shape=end.output.shape, sources=end.sources)

    Rewriter(ctx, dict.fromkeys(sorted(MOVES), (rule,))).run()


def _chain(end: Node) -> list[Node]:
    """The moves that ``end`` is made of, it included, each after those it reads."""
    chain: list[Node] = []
    seen: set[int] = set()
    stack = [(end, False)]
    while stack:
        node, done = stack.pop()
        if done:
            chain.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            makers = [v.producer for v in node.inputs if v is not None and v.producer is not None]
            stack += [(maker, False) for maker in makers if maker.op in MOVES]
    return chain


def _source(chain: list[Node]) -> Value | None:
    """The one tensor that the chain reads, or None."""
    made = {id(n.output) for n in chain}
    found = {id(v): v for n in chain for v in n.inputs if v is not None and id(v) not in made}
    value = next(iter(found.values())) if len(found) == 1 else None
    return None if value is None or value.is_constant else value


def _rows(chain: list[Node], source: Value, end: Node) -> tuple[np.ndarray, int]:
    """Which rows of the source make the end's value, as int32, and of how many elements each is."""
    places: dict[int, np.ndarray] = {id(source): np.arange(source.size, dtype=np.int32).reshape(source.shape)}
    for node in chain:
        inputs = [None if v is None else places[id(v)] for v in node.inputs]
        places[id(node.output)] = evaluate_node(node.op, inputs, node.attrs)[0]
    order = places[id(end.output)].reshape(-1)
    breaks = np.flatnonzero(np.diff(order) != 1) + 1
    starts = np.concatenate([order[:1], order[breaks]])
    size = gcd(source.size, order.size, int(np.gcd.reduce(breaks, initial=0)), int(np.gcd.reduce(starts, initial=0)))
    return np.ascontiguousarray(order[::size] // size), size


def _gathered(walk: Rewriter, source: Value, size: int, rows: np.ndarray, sources: tuple[str, ...]) -> Value:
    flat = walk.op("reshape", source, shape=(source.size // size, size))
    return walk.op("gather", flat, walk.constant(rows), axis=0, sources=sources)


# ---- products in front of the chain ---------------------------------------------------------------------
def _product(value: Value) -> tuple[Node, ...] | None:
    """What makes ``value`` row by row: a product with constants no narrower than deep, perhaps a bias added."""
    node = value.producer
    if node is None:
        return None
    if node.op == "add":
        factors = [v for v in node.inputs if v is not None and not v.is_constant]
        biases = [v for v in node.inputs if v is not None and v.is_constant]
        if len(factors) != 1 or factors[0].shape != value.shape or (biases[0].size,) != value.shape[-1:]:
            return None
        if biases[0].shape[-1:] != value.shape[-1:]:
            return None
        inner = _product(factors[0])
        return (*inner, node) if inner is not None and len(inner) == 1 else None
    if node.op != "matmul":
        return None
    weights = node.inputs[1]
    fits = weights is not None and weights.is_constant and weights.rank == 2 and weights.shape[0] <= weights.shape[1]
    return (node,) if fits else None


def _is_sum(node: Node) -> bool:
    return node.op == "add" and all(v is not None and not v.is_constant for v in node.inputs)


def _before(
    walk: Rewriter, product: tuple[Node, ...], together: int, rows: np.ndarray, end: Node, sources: tuple[str, ...]
) -> Value:
    """The product of gathered rows, of which ``together`` make one of ``rows``."""
    matmul = product[0]
    x, weights = matmul.inputs
    assert x is not None and weights is not None
    moved = _gathered(walk, x, together * x.shape[-1], rows, sources)
    lead = end.output.shape[:-1]
    moved = walk.op("reshape", moved, shape=(*lead, x.shape[-1]))
    y = walk.op("matmul", moved, weights, sources=matmul.sources, **matmul.attrs)
    for node in product[1:]:
        bias = next(v for v in node.inputs if v is not None and v.is_constant)
        flat = walk.op("reshape", bias, shape=(bias.size,))
        y = walk.op("add", y, flat, sources=node.sources)
    return y
