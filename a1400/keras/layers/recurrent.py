"""Recurrent layers: one op for the whole sequence where it serves, else a step after the other.

The op has the activations of ONNX's layers and no dropout.  Where it has no gradient, training takes the steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from a1400.graph.tensor import Tensor
from a1400.keras.layers.activations import activate, activation_name
from a1400.keras.layers.masked_steps import MaskedSteps
from a1400.keras.layers.regularization import dropout
from a1400.keras.registry import converts
from a1400.keras.tracing import F32, Call
from a1400.ops import OPS

#: Keras's activations as the op names them: (name, alpha, beta)
_ACTIVATIONS = {
    "elu": ("elu", 1.0, 0.0),
    "hard_sigmoid": ("hardsigmoid", 1 / 6, 0.5),
    "leaky_relu": ("leakyrelu", 0.2, 0.0),
    "relu": ("relu", 0.0, 0.0),
    "sigmoid": ("sigmoid", 0.0, 0.0),
    "softplus": ("softplus", 0.0, 0.0),
    "softsign": ("softsign", 0.0, 0.0),
    "tanh": ("tanh", 0.0, 0.0),
}
#: order of the gates in the op, as places in Keras's kernels (lstm: i f c o there, i o f c here)
_GATES = {"lstm": (0, 3, 1, 2), "gru": (0, 1, 2), "rnn": (0,)}


@dataclass(frozen=True)
class Cell:
    """One kind of cell: its name in the op, how many states it has, and its step.

    ``step(c, cell, projected inputs of one step, states)`` gives the new states; the first of them is the output.
    """

    kind: str
    states: int
    step: Callable[[Call, Any, Tensor, list[Tensor]], list[Tensor]]


def _gates(x: Tensor, units: int) -> list[Tensor]:
    return [x.slice((0, i * units), (x.shape[0], units)) for i in range(x.shape[1] // units)]


def _recurrent_bias(c: Call, cell: Any) -> Tensor | None:
    """The second row of the bias of a GRU that resets after the product."""
    if not cell.use_bias or not getattr(cell, "reset_after", False):
        return None
    bias = c.weight(cell.bias)
    return bias.slice((1, 0), (1, bias.shape[1]))


def _lstm_step(c: Call, cell: Any, x: Tensor, states: list[Tensor]) -> list[Tensor]:
    h, carried = states
    i, f, g, o = _gates(x + h @ c.weight(cell.recurrent_kernel), cell.units)
    gate = cell.recurrent_activation
    carried = activate(c, f, gate) * carried + activate(c, i, gate) * activate(c, g, cell.activation)
    return [activate(c, o, gate) * activate(c, carried, cell.activation), carried]


def _gru_step(c: Call, cell: Any, x: Tensor, states: list[Tensor]) -> list[Tensor]:
    h, units = states[0], int(cell.units)
    kernel = c.weight(cell.recurrent_kernel)
    xz, xr, xh = _gates(x, units)
    if cell.reset_after:
        inner, bias = h @ kernel, _recurrent_bias(c, cell)
        hz, hr, hh = _gates(inner if bias is None else inner + bias, units)
        z, r = activate(c, xz + hz, cell.recurrent_activation), activate(c, xr + hr, cell.recurrent_activation)
        new = activate(c, xh + r * hh, cell.activation)
    else:
        hz, hr = _gates(h @ kernel.slice((0, 0), (units, 2 * units)), units)
        z, r = activate(c, xz + hz, cell.recurrent_activation), activate(c, xr + hr, cell.recurrent_activation)
        new = activate(c, xh + (r * h) @ kernel.slice((0, 2 * units), (units, units)), cell.activation)
    return [z * h + (1.0 - z) * new]


def _simple_step(c: Call, cell: Any, x: Tensor, states: list[Tensor]) -> list[Tensor]:
    return [activate(c, x + states[0] @ c.weight(cell.recurrent_kernel), cell.activation)]


_CELLS = {
    "LSTMCell": Cell("lstm", 2, _lstm_step),
    "GRUCell": Cell("gru", 1, _gru_step),
    "SimpleRNNCell": Cell("rnn", 1, _simple_step),
}


def _kind(c: Call, cell: Any) -> Cell | None:
    """The kind of one of Keras's cells; None for a user's own."""
    if not type(cell).__module__.startswith("keras."):
        return None
    kind = _CELLS.get(type(cell).__name__)
    if kind is None:
        c.refuse(f"cells of the class {type(cell).__name__} are not supported")
    return kind


@converts("LSTMCell", "GRUCell", "SimpleRNNCell")
def _cell(c: Call) -> Any:
    """A single step."""
    cell, kind = c.layer, _kind(c, c.layer)
    assert kind is not None
    if c.training and (cell.dropout or cell.recurrent_dropout):
        c.refuse("dropout in a cell that is called by itself is not supported")
    states = [c.lift(s).cast(F32) for s in keras.tree.flatten(c.arguments["states"])]
    new = kind.step(c, cell, _projected(c, cell, c.real), states)
    return new[0], keras.tree.pack_sequence_as(c.arguments["states"], new)


@converts("LSTM", "GRU", "SimpleRNN", "RNN")
def _recurrent(c: Call) -> Any:
    layer = c.layer
    if layer.stateful:
        c.refuse("stateful=True is not supported")
    cells = list(layer.cell.cells) if type(layer.cell).__name__ == "StackedRNNCells" else [layer.cell]
    x = c.real
    mask = _mask(c)
    steps = None if mask is None else MaskedSteps(mask)
    first = c.given("initial_state")
    given: list[Any] = [None] if first is None else keras.tree.flatten(first)
    last: list[Tensor] = []
    backwards = bool(layer.go_backwards)
    y, lengths = (x, None) if steps is None else (steps.together(x), steps.lengths)
    for cell in cells:
        kind = _kind(c, cell)
        count = len(keras.tree.flatten(cell.state_size)) if kind is None else kind.states
        states = None
        if given != [None]:
            states = [c.lift(s).cast(F32) for s in given[:count]]
            given = given[count:]
        if kind is None:
            y, found = _own_cell(c, cell, y, states, backwards, lengths)
        else:
            run = _whole if _as_one(c, kind, cell) else _stepwise
            y, found = run(c, kind, cell, y, states, backwards, lengths)
        last += found
    if steps is not None:
        y = steps.apart(y, backwards, bool(layer.zero_output_for_mask))
    if layer.return_sequences:
        result = _reversed(y) if backwards else y  # Keras gives the steps in the order in which it took them
    else:
        result = _at(y, 0 if backwards else y.shape[1] - 1)
    return (result, *last) if layer.return_state else result


def _mask(c: Call) -> Tensor | None:
    """The mask of the steps [B, T]."""
    found = [m for m in keras.tree.flatten(c.given("mask")) if m is not None]
    if not found:
        return None
    mask = c.lift(found[0]).cast(bool)
    return mask.squeeze(-1) if mask.rank == 3 and mask.shape[-1] == 1 else mask


def _at(x: Tensor, step: int) -> Tensor:
    """[B, T, ...] at one step: [B, ...]."""
    part = x.slice((0, step, *(0,) * (x.rank - 2)), (x.shape[0], 1, *x.shape[2:]))
    return part.reshape((x.shape[0], *x.shape[2:]))


def _as_one(c: Call, kind: Cell, cell: Any) -> bool:
    """Whether the op serves this cell."""
    functions = (cell.activation, getattr(cell, "recurrent_activation", cell.activation))
    if any(activation_name(f) not in _ACTIVATIONS for f in functions):
        return False
    if not c.training:
        return True
    return OPS["recurrent"].gradient is not None and not cell.dropout and not cell.recurrent_dropout


def _whole(
    c: Call, kind: Cell, cell: Any, x: Tensor, states: list[Tensor] | None, backwards: bool, lengths: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    """The op: sequences [B, T, H] in the order of time, and the last states; rows end at their ``lengths`` [B]."""
    (found,) = _directions(c, kind, [cell], x, states, "reverse" if backwards else "forward", lengths)
    return found


def _reversed(y: Tensor) -> Tensor:
    """[B, T, H] with the steps in the other order."""
    return y.slice((0, y.shape[1] - 1, 0), y.shape, (1, -1, 1))


def _directions(
    c: Call, kind: Cell, cells: list[Any], x: Tensor, states: list[Tensor] | None, direction: str,
    lengths: Tensor | None,
) -> list[tuple[Tensor, list[Tensor]]]:  # fmt: skip
    """For each direction its sequences [B, T, H] in the order of time, and its last states.

    The cells are alike; ``states`` are those of a single one.
    """
    first, units = cells[0], int(cells[0].units)

    def arranged(matrix: Tensor) -> Tensor:
        rows = matrix.swap(0, 1)
        parts = [rows.slice((g * units, 0), (units, rows.shape[1])) for g in _GATES[kind.kind]]
        rows = parts[0].op("concat", *parts[1:], axis=0) if len(parts) > 1 else parts[0]
        return rows.reshape((1, *rows.shape))

    def beside(parts: list[Tensor]) -> Tensor:
        return parts[0].op("concat", *parts[1:], axis=0) if len(parts) > 1 else parts[0]

    inputs: list[Tensor | None] = [
        beside([arranged(c.weight(cell.kernel)) for cell in cells]),
        beside([arranged(c.weight(cell.recurrent_kernel)) for cell in cells]),
        beside([_arranged_bias(c, kind, cell) for cell in cells]) if first.use_bias else None,
        lengths,
    ]
    if states is not None:
        inputs += [s.reshape((1, *s.shape)) for s in states]
    plain = _ACTIVATIONS[activation_name(first.activation) or ""]
    gate = _ACTIVATIONS[activation_name(getattr(first, "recurrent_activation", first.activation)) or ""]
    names = {"lstm": [gate, plain, plain], "gru": [gate, plain], "rnn": [plain]}[kind.kind]
    values = c.tracing.graph.multi(
        "recurrent", x.swap(0, 1).value, *(None if v is None else v.value for v in inputs), kind=kind.kind,
        hidden=units, direction=direction, activations=names * len(cells), clip=0.0, input_forget=False,
        linear_before_reset=bool(getattr(first, "reset_after", False)),
    )  # fmt: skip
    y, *last = (Tensor(c.tracing.graph, v) for v in values)
    steps, _, batch, _ = y.shape
    return [
        (
            y.slice((0, d, 0, 0), (steps, 1, batch, units)).reshape((steps, batch, units)).swap(0, 1),
            [s.slice((d, 0, 0), (1, batch, units)).reshape((batch, units)) for s in last],
        )
        for d in range(len(cells))
    ]


def _arranged_bias(c: Call, kind: Cell, cell: Any) -> Tensor:
    """Both biases of the op, one behind the other: [1, 2 * gates * H]."""
    bias, units = c.weight(cell.bias), int(cell.units)
    if bias.rank == 2:
        return bias.reshape((1, bias.value.size))
    parts = [bias.slice((g * units,), (units,)) for g in _GATES[kind.kind]]
    whole = parts[0].op("concat", *parts[1:], axis=0) if len(parts) > 1 else parts[0]
    return whole.pad((0,), (whole.shape[0],)).reshape((1, 2 * whole.shape[0]))


def _stepwise(
    c: Call, kind: Cell, cell: Any, x: Tensor, states: list[Tensor] | None, backwards: bool, lengths: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    """As :func:`_whole`, one step after the other; the inputs' part of all of them is one product.

    Dropout is the same at every step.
    """
    batch, steps, units = x.shape[0], x.shape[1], int(cell.units)
    if c.training and cell.dropout:
        x = dropout(c, x, float(cell.dropout), (batch, 1, x.shape[2]))
    projected = _projected(c, cell, x)
    if states is None:
        states = [projected.filled(0.0, (batch, units)) for _ in range(kind.states)]
    kept: Tensor | None = None
    if c.training and cell.recurrent_dropout:
        kept = dropout(c, projected.filled(1.0, (batch, units)), float(cell.recurrent_dropout))
    outputs = []
    for step in reversed(range(steps)) if backwards else range(steps):
        seen = states if kept is None else [states[0] * kept, *states[1:]]
        new = kind.step(c, cell, _at(projected, step), seen)
        if lengths is not None:
            taken = (lengths > step).reshape((batch, 1))
            new = [taken.where(n, old) for n, old in zip(new, states)]
        states = new
        outputs.append(states[0])
    return _together(outputs, backwards), states


def _projected(c: Call, cell: Any, x: Tensor) -> Tensor:
    """The inputs' part of the gates, of one step or all."""
    projected = x @ c.weight(cell.kernel)
    if not cell.use_bias:
        return projected
    bias = c.weight(cell.bias)
    return projected + (bias.slice((0, 0), (1, bias.shape[1])) if bias.rank == 2 else bias)


def _together(outputs: list[Tensor], backwards: bool) -> Tensor:
    """The steps' outputs [B, ...] as sequences [B, T, ...] in the order of time."""
    steps = [y.expand_dims(1) for y in (outputs[::-1] if backwards else outputs)]
    return steps[0].op("concat", *steps[1:], axis=1) if len(steps) > 1 else steps[0]


def _own_cell(
    c: Call, cell: Any, x: Tensor, states: list[Tensor] | None, backwards: bool, lengths: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    """As :func:`_stepwise`, for a cell of a user's own: a layer ``(inputs, states) -> (output, states)``."""
    batch, steps = x.shape[0], x.shape[1]
    sizes = keras.tree.flatten(cell.state_size)
    if states is None and hasattr(cell, "get_initial_state"):
        given = keras.tree.flatten(c.symbolically(cell.get_initial_state, batch_size=batch))
        states = [c.lift(s).cast(F32) for s in given]
    elif states is None:
        states = [x.filled(0.0, (batch, int(size))) for size in sizes]
    outputs: list[Tensor] = []
    for step in reversed(range(steps)) if backwards else range(steps):
        output, new = c.apply(cell, _at(x, step), list(states))
        flat = keras.tree.flatten(new)
        if lengths is not None:
            taken = (lengths > step).reshape((batch, 1))
            before = outputs[-1] if outputs else output.filled(0.0)
            output, flat = taken.where(output, before), [taken.where(n, old) for n, old in zip(flat, states)]
        states = flat
        outputs.append(output)
    return _together(outputs, backwards), states


def _one_op(c: Call) -> Cell | None:
    """The kind of cell, where both directions are alike and one op serves them."""
    first, second = c.layer.forward_layer, c.layer.backward_layer
    if type(first) is not type(second) or type(first).__name__ not in ("LSTM", "GRU", "SimpleRNN"):
        return None
    if any(layer.stateful or layer.activity_regularizer is not None for layer in (first, second)):
        return None
    a, b = first.cell, second.cell
    same = ("units", "activation", "recurrent_activation", "use_bias", "reset_after", "dropout", "recurrent_dropout")
    alike = all(getattr(a, name, None) == getattr(b, name, None) for name in same)
    wanted = c.given("initial_state") is None and not first.go_backwards
    kind = _kind(c, a)
    return kind if kind is not None and alike and wanted and _as_one(c, kind, a) else None


@converts("Bidirectional")
def _bidirectional(c: Call) -> Any:
    layer = c.layer
    kind = _one_op(c)
    if kind is not None:
        cells = [layer.forward_layer.cell, layer.backward_layer.cell]
        pairs = _both_ways(c, kind, cells)
        sequences, ends = [y for y, _ in pairs], [last for _, last in pairs]
        forward, backward = sequences if layer.return_sequences else [last[0] for last in ends]
        states: tuple[Any, ...] = (*ends[0], *ends[1]) if layer.return_state else ()
    else:
        forward, backward, states = _one_after_the_other(c)
    merged: Any = {
        "concat": lambda: forward.op("concat", backward, axis=forward.rank - 1),
        "sum": lambda: forward + backward,
        "ave": lambda: (forward + backward) * 0.5,
        "mul": lambda: forward * backward,
        None: lambda: (forward, backward),
    }[layer.merge_mode]()
    if not states:
        return merged
    return (*merged, *states) if layer.merge_mode is None else (merged, *states)


def _both_ways(c: Call, kind: Cell, cells: list[Any]) -> list[tuple[Tensor, list[Tensor]]]:
    """One op for both directions."""
    mask = _mask(c)
    if mask is None:
        return _directions(c, kind, cells, c.real, None, "bidirectional", None)
    steps = MaskedSteps(mask)
    found = _directions(c, kind, cells, steps.together(c.real), None, "bidirectional", steps.lengths)
    zero = bool(c.layer.forward_layer.zero_output_for_mask)
    return [(steps.apart(y, d == 1, zero), last) for d, (y, last) in enumerate(found)]


def _one_after_the_other(c: Call) -> tuple[Tensor, Tensor, tuple[Any, ...]]:
    """Both layers by themselves: what goes forward, what goes backward in the order of time, and their states."""
    layer = c.layer
    options = {} if c.given("mask") is None else {"mask": c.given("mask")}
    initial = c.given("initial_state")
    halves: list[Any] = [None, None]
    if initial is not None:
        half = len(initial) // 2
        halves = [initial[:half], initial[half:]]
    forward = c.apply(layer.forward_layer, c.first, initial_state=halves[0], **options)
    backward = c.apply(layer.backward_layer, c.first, initial_state=halves[1], **options)
    states: tuple[Any, ...] = ()
    if layer.return_state:
        states = (*forward[1:], *backward[1:])
        forward, backward = forward[0], backward[0]
    return forward, _reversed(backward) if layer.return_sequences else backward, states
