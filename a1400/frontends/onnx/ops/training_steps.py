"""``ai.onnx.preview.training``: steps of optimizers as arithmetic, gradients by reverse accumulation."""

from __future__ import annotations

from collections.abc import Sequence

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.registry import translates
from a1400.graph.graph import Value
from a1400.graph.tensor import Tensor

DOMAIN = "ai.onnx.preview.training"


def _groups(c: Ctx, count: int) -> tuple[Value, Value, list[list[Tensor]]]:
    """The learning rate, the number of steps so far, and the tensors of each parameter: ``count`` of them."""
    many, rest = divmod(len(c) - 2, count)
    if rest or many < 1:
        raise GraphError(f"{len(c) - 2} tensors are not {count} for each parameter")
    groups = [[Tensor(c.graph, c[2 + many * k + i]) for k in range(count)] for i in range(many)]
    return c.reshape(c[0], ()), c.reshape(c[1], ()), groups


def _columns(results: Sequence[tuple[Tensor, ...]]) -> tuple[Value, ...]:
    """All first results, then all second ones ..."""
    return tuple(row[k].value for k in range(len(results[0])) for row in results)


def _started(c: Ctx, steps: Value) -> Tensor:
    return Tensor(c.graph, c.op("gt", steps, c.scalar(0, steps)))


def _regularized(c: Ctx, x: Tensor, g: Tensor) -> Tensor:
    return x * c.number("norm_coefficient", 0.0) + g


@translates("Adagrad", domain=DOMAIN)
def adagrad(c: Ctx) -> object:
    """Rates divided by the root of all squared gradients so far."""
    rate, steps, groups = _groups(c, 3)
    results = []
    for x, g, h in groups:
        decay = Tensor(c.graph, c.cast(steps, x.dtype)) * c.number("decay_factor", 0.0) + 1
        g = _regularized(c, x, g)
        squares = h + g * g
        slower = Tensor(c.graph, c.cast(rate, x.dtype)) / decay
        results.append((x - slower * g / (squares.sqrt() + c.number("epsilon", 1e-6)), squares))
    return _columns(results)


@translates("Adam", domain=DOMAIN)
def adam(c: Ctx) -> object:
    """Running means of gradients and of their squares, corrected for having begun at zero."""
    rate, steps, groups = _groups(c, 4)
    alpha, beta = c.number("alpha", 0.9), c.number("beta", 0.999)
    results = []
    for x, g, v, h in groups:
        r, t = Tensor(c.graph, c.cast(rate, x.dtype)), Tensor(c.graph, c.cast(steps, x.dtype))
        g = _regularized(c, x, g)
        v = v * alpha + g * (1 - alpha)
        h = h * beta + g * g * (1 - beta)
        corrected = r * (1 - t.lift(beta) ** t).sqrt() / (1 - t.lift(alpha) ** t)
        r = _started(c, steps).where(corrected, r)
        after = x - r * (v / (h.sqrt() + c.number("epsilon", 1e-6)))
        results.append((after * (1 - c.number("norm_coefficient_post", 0.0)), v, h))
    return _columns(results)


@translates("Momentum", domain=DOMAIN)
def momentum(c: Ctx) -> object:
    """Gradients gathered into a velocity, as they are or as Nesterov does."""
    rate, steps, groups = _groups(c, 3)
    alpha, beta, mode = c.number("alpha"), c.number("beta"), c.text("mode")
    if mode not in ("standard", "nesterov"):
        raise GraphError(f"there is no momentum of mode {mode!r}")
    results = []
    for x, g, v in groups:
        g = _regularized(c, x, g)
        velocity = v * alpha + g * _started(c, steps).where(g.lift(beta), 1)
        step = velocity if mode == "standard" else g + velocity * alpha
        results.append((x - Tensor(c.graph, c.cast(rate, x.dtype)) * step, velocity))
    return _columns(results)


@translates("Gradient", domain=DOMAIN)
def gradient(c: Ctx) -> object:
    """Gradients of ``y`` with respect to ``xs``, names of the graph that the node stands in."""
    from a1400.autodiff import gradients

    names = c.attr("xs", None, tuple)
    if not names or len(names) > len(c):
        raise GraphError("attribute 'xs' names no inputs, or more than there are")
    target = c.tracer.scope[c.text("y")]
    if not isinstance(target, Value):
        raise GraphError("the target of a gradient is a tensor")
    with_respect_to = [c.tracer.scope[name] for name in names]
    for i, (name, value) in enumerate(zip(names, with_respect_to)):
        if value is not c[i]:
            raise c.unsupported(f"a gradient at another value than the graph's own {name!r} is not supported")
    before = len(c.graph.nodes)
    found = gradients(c.graph, target, [c[i] for i in range(len(names))])
    for node in c.graph.nodes[before:]:  # they name the nodes whose gradients they are
        node.sources = (*node.sources, *c.graph.source)
    zeros = (c.expand(c.scalar(0, c[i]), c[i].shape) for i in range(len(names)))
    return tuple(zero if g is None else g for g, zero in zip(found, zeros))
