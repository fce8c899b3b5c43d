"""The gradient of ``recurrent``: all products over all steps at once, but for the one that goes from step to step.

The rule makes the gates' inputs again from x, the weights and the layer's own results (one product over all steps, as
every previous hidden state is known by now), so the forward pass keeps nothing.
``recurrent_gradient(pre, r, h, dy, lengths?, c0?, peepholes?, dhn?, dcn?)`` walks the steps backwards:

* ``pre[D,T,B,P]``: the gates' inputs; gates in ONNX order.  P is 4 H for lstm, H for rnn, 3 H for gru; with
  ``linear_before_reset`` 4 H, where the candidate's part from x is third and that from the hidden state fourth;
* ``h[D,T,B,H]``: the hidden state before each step; ``dy[D,T,B,H]``, ``dhn[D,B,H]``, ``dcn[D,B,H]``: what comes in;
* results: what reaches ``pre`` (zeros beyond a row's length), ``dh0[D,B,H]``; for lstm also ``dc0[D,B,H]`` and the cell
  states ``c[D,T,B,H]`` behind each step.

Attributes as for ``recurrent``; all directions have the same activations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from a1400.graph.graph import Value
from a1400.graph.tensor import Tensor
from a1400.kernels.recurrent_gradient_reference import Walk
from a1400.ops.recurrent import GATES
from a1400.ops.registry import Backward, Result, gradient, op, require, widen


def width(attrs: dict[str, Any]) -> int:
    """P / H: how many inputs a unit's gates have."""
    return GATES[attrs["kind"]] + int(_linear(attrs))


def _linear(attrs: dict[str, Any]) -> bool:
    return attrs["kind"] == "gru" and bool(attrs.get("linear_before_reset"))


Act = tuple[str, float, float]


def _activations(attrs: dict[str, Any], directions: int) -> list[list[Act]]:
    """Each direction's."""
    per = len(attrs["activations"]) // directions
    return [attrs["activations"][d * per : (d + 1) * per] for d in range(directions)]


def _alike(attrs: dict[str, Any], directions: int) -> bool:
    first, *others = ([tuple(act) for act in acts] for acts in _activations(attrs, directions))
    return all(other == first for other in others)


def _infer(attrs: dict[str, Any], pre: Value, r: Value, h: Value, dy: Value, *rest: Value | None) -> list[Result]:
    d, t, b, size = pre.shape
    hidden = int(attrs["hidden"])
    fits = h.shape == dy.shape == (d, t, b, hidden) and size == width(attrs) * hidden
    fits = fits and r.shape == (d, GATES[attrs["kind"]] * hidden, hidden)
    require(fits, f"recurrent gradient of {pre}, {r}, {h}, {dy}")
    require(_alike(attrs, d), "the gradient of a recurrent layer takes directions with the same activations together")
    results: list[Result] = [(pre.shape, pre.dtype), ((d, b, hidden), pre.dtype)]
    return [*results, ((d, b, hidden), pre.dtype), (h.shape, pre.dtype)] if attrs["kind"] == "lstm" else results


def _reference(attrs: dict[str, Any], *arrays: Any) -> list[np.ndarray]:
    given: list[Any] = [*arrays, *[None] * (9 - len(arrays))]
    pre, r, h, dy, lengths, c0, peepholes, dhn, dcn = given
    dtype, hidden = pre.dtype, int(attrs["hidden"])
    pre, r, h, dy = (widen(a).astype(np.float64) for a in (pre, r, h, dy))
    directions, steps, batch, _ = h.shape
    shape = (directions, batch, hidden)
    c0, dhn, dcn = (np.zeros(shape) if a is None else widen(a).astype(np.float64) for a in (c0, dhn, dcn))
    holes = np.zeros(3 * hidden * directions) if peepholes is None else widen(peepholes).astype(np.float64)
    holes = holes.reshape(directions, 3, hidden)
    counts = np.full(batch, steps) if lengths is None else np.minimum(lengths, steps)
    acts, clip, coupled = _activations(attrs, directions)[0], attrs.get("clip") or 0.0, bool(attrs.get("input_forget"))
    parts = []
    for d in range(directions):
        back = attrs["direction"] == "reverse" or d == 1
        walk = Walk(attrs["kind"], acts, float(clip), _linear(attrs), coupled, back)
        parts.append(walk.run(pre[d], r[d], h[d], dy[d], counts, c0[d], holes[d], dhn[d], dcn[d]))
    results = [np.stack(part).astype(dtype) for part in zip(*parts)]
    return results if attrs["kind"] == "lstm" else results[:2]


op("recurrent_gradient", "recurrent", _infer, _reference)


def _activated(name: str, alpha: float, beta: float, x: Tensor) -> Tensor:
    """An activation in terms of other ops."""
    table: dict[str, Callable[[], Tensor]] = {
        "sigmoid": lambda: x.op("sigmoid"),
        "tanh": lambda: x.op("tanh"),
        "relu": lambda: x.op("max", 0.0),
        "affine": lambda: x * alpha + beta,
        "leakyrelu": lambda: (x < 0.0).where(x * alpha, x),
        "thresholdedrelu": lambda: (x >= alpha).where(x, x.filled(0, ())),
        "scaledtanh": lambda: (x * beta).op("tanh") * alpha,
        "hardsigmoid": lambda: (x * alpha + beta).op("max", 0.0).op("min", 1.0),
        "elu": lambda: (x < 0.0).where((x.op("min", 0.0).exp() - 1.0) * alpha, x),
        "softsign": lambda: x / (x.abs() + 1.0),
        "softplus": lambda: x.op("softplus"),
    }
    return table[name.lower()]()


class _Rule:
    """A layer's tensors with the direction first, rows [D, T * B, ...] where products are made."""

    def __init__(self, b: Backward) -> None:
        self.b, self.attrs = b, b.attrs
        self.given: list[Tensor | None] = [*b.inputs, *[None] * (8 - len(b.inputs))]
        self.x, self.w, self.r = b.x(0), b.x(1), b.x(2)
        self.steps, self.batch, self.size = self.x.shape
        self.directions, self.hidden = self.w.shape[0], int(b.attrs["hidden"])
        self.h = self.before(b.y.transpose((1, 0, 2, 3)), self.given[5])

    def concat(self, parts: list[Tensor], axis: int) -> Tensor:
        if len(parts) == 1:
            return parts[0]
        return parts[0].op("concat", *parts[1:], axis=axis)

    def part(self, x: Tensor, axis: int, start: int, stop: int) -> Tensor:
        """``start`` to ``stop`` of one axis."""
        starts, shape = [0] * x.rank, list(x.shape)
        starts[axis], shape[axis] = start, stop - start
        return x.slice(starts, shape)

    def before(self, y: Tensor, first: Tensor | None) -> Tensor:
        """The state before each step: ``y`` [D,T,B,H] a step later in each direction, ``first`` [D,B,H] before all."""
        lengths, found = self.given[4], []
        shape = (1, 1, self.batch, self.hidden)
        for d in range(self.directions):
            mine = self.part(y, 0, d, d + 1)
            start = mine.filled(0, shape) if first is None else self.part(first, 0, d, d + 1).reshape(shape)
            if not (self.attrs["direction"] == "reverse" or d == 1):
                found.append(self.concat([start, self.part(mine, 1, 0, self.steps - 1)], 1))
                continue
            later = self.concat([self.part(mine, 1, 1, self.steps), start], 1)
            if lengths is not None:  # the last time of a row is its first step
                numbers = np.arange(self.steps, dtype=np.int32).reshape(1, -1, 1, 1)
                times = Tensor(self.b.graph, self.b.graph.constant(numbers))
                last = lengths.cast(np.int32).op("min", self.steps).reshape((1, 1, self.batch, 1)) - 1
                later = times.equal(last).where(start, later)
            found.append(later)
        return self.concat(found, 0)

    def rows(self, x: Tensor) -> Tensor:
        """[D,T,B,X] as [D, T * B, X]."""
        return x.reshape((x.shape[0], self.steps * self.batch, x.shape[3]))

    def times(self, x: Tensor) -> Tensor:
        """[D, T * B, X] as [D,T,B,X]."""
        return x.reshape((x.shape[0], self.steps, self.batch, x.shape[2]))

    def pre(self) -> tuple[Tensor, Tensor]:
        """The gates' inputs, and what the candidate's recurrent weights of a gru multiply."""
        hidden, gates = self.hidden, GATES[self.attrs["kind"]]
        x = self.x.reshape((1, self.steps * self.batch, self.size))
        xw, hr = x @ self.w.swap(1, 2), self.rows(self.h) @ self.r.swap(1, 2)
        bias = self.given[3]
        if bias is not None:
            xb, hb = (self.part(bias, 1, at, at + gates * hidden) for at in (0, gates * hidden))
            xw, hr = (a + c.reshape((self.directions, 1, gates * hidden)) for a, c in ((xw, xb), (hr, hb)))
        if self.attrs["kind"] != "gru":
            return self.times(xw + hr), self.h
        both = self.part(xw, 2, 0, 2 * hidden) + self.part(hr, 2, 0, 2 * hidden)
        candidate = self.part(xw, 2, 2 * hidden, 3 * hidden)
        if _linear(self.attrs):
            return self.times(self.concat([both, candidate, self.part(hr, 2, 2 * hidden, 3 * hidden)], 2)), self.h
        inputs = self.part(both, 2, hidden, 2 * hidden)
        if clip := float(self.attrs.get("clip") or 0.0):
            inputs = inputs.op("max", -clip).op("min", clip)
        acts = _activations(self.attrs, self.directions)
        reset = self.concat([_activated(*act[0], self.part(inputs, 0, d, d + 1)) for d, act in enumerate(acts)], 0)
        kept = reset * self.rows(self.h)
        candidate = candidate + kept @ self.part(self.r, 1, 2 * hidden, 3 * hidden).swap(1, 2)
        if bias is not None:
            at = (gates + 2) * hidden
            candidate = candidate + self.part(bias, 1, at, at + hidden).reshape((self.directions, 1, hidden))
        return self.times(self.concat([both, candidate], 2)), self.times(kept)

    def gradients(self) -> list[Tensor | None]:
        b, hidden, kind = self.b, self.hidden, self.attrs["kind"]
        pre, kept = self.pre()
        coming = [*b.coming, None]
        dy = (b.y.filled(0) if coming[0] is None else coming[0]).transpose((1, 0, 2, 3))
        lengths, c0, peepholes = self.given[4], self.given[6], self.given[7]
        operands = [pre, self.r, self.h, dy, lengths, c0, peepholes, coming[1], coming[2] if kind == "lstm" else None]
        dpre, dh0, *cell = self.walk(operands)
        by_x = by_h = self.rows(dpre)
        if _linear(self.attrs):
            by_x = self.part(by_x, 2, 0, 3 * hidden)
            by_h = self.concat([self.part(by_h, 2, 0, 2 * hidden), self.part(by_h, 2, 3 * hidden, 4 * hidden)], 2)
        x = self.x.reshape((1, self.steps * self.batch, self.size))
        dx = (by_x @ self.w).sum((0,)).reshape(self.x.shape)
        dw = by_x.swap(1, 2) @ x
        if kind == "gru":
            first, last = (self.part(by_h, 2, *ends).swap(1, 2) for ends in ((0, 2 * hidden), (2 * hidden, 3 * hidden)))
            dr = self.concat([first @ self.rows(self.h), last @ self.rows(kept)], 1)
        else:
            dr = by_h.swap(1, 2) @ self.rows(self.h)
        dbias = None if self.given[3] is None else self.concat([by_x.sum((1,)), by_h.sum((1,))], 1)
        found: list[Tensor | None] = [dx, dw, dr, dbias, None, dh0]
        if kind == "lstm":
            found += [cell[0], None if peepholes is None else self.peepholes(self.rows(dpre), cell[1])]
        return found[: len(b.inputs)]

    def walk(self, operands: list[Tensor | None]) -> list[Tensor]:
        """Results of ``recurrent_gradient``; direction by direction where they differ."""
        if _alike(self.attrs, self.directions):
            values = (None if a is None else a.value for a in operands)
            return [Tensor(self.b.graph, v) for v in self.b.graph.multi("recurrent_gradient", *values, **self.attrs)]
        found = []
        for d, acts in enumerate(_activations(self.attrs, self.directions)):
            attrs = {**self.attrs, "activations": acts, "direction": ("forward", "reverse")[d]}
            # lengths, the fifth, have no direction
            mine = (a if a is None or i == 4 else self.part(a, 0, d, d + 1) for i, a in enumerate(operands))
            made = self.b.graph.multi("recurrent_gradient", *(None if a is None else a.value for a in mine), **attrs)
            found.append([Tensor(self.b.graph, v) for v in made])
        return [self.concat(list(parts), 0) for parts in zip(*found)]

    def peepholes(self, dpre: Tensor, cells: Tensor) -> Tensor:
        """What reaches the weights of the cell state in the input, output and forget gates."""
        old, new = self.rows(self.before(cells, self.given[6])), self.rows(cells)
        sums = [
            (self.part(dpre, 2, gate * self.hidden, (gate + 1) * self.hidden) * state).sum((1,))
            for gate, state in ((0, old), (1, new), (2, old))
        ]
        return self.concat(sums, 1)


@gradient("recurrent")
def _recurrent_rule(b: Backward) -> list[Tensor | None]:
    return _Rule(b).gradients()
