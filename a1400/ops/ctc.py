"""Connectionist temporal classification (Graves and others, 2006): the loss of a sequence of labels without times.

``ctc(scores [B, T, L], jumps i32 [B, L], times i32 [B], lengths i32 [B])`` gives ``loss`` [B] and ``alpha``
[B, T, L] in the scores' dtype, float32 or float64; ``ctc_gradient`` (those four, loss, alpha) gives the gradient of the
sum of the losses by the scores.  :mod:`a1400.kernels.ctc` says what they mean; :func:`ctc_loss` makes them of logits
and labels.  A row that no path fits has the loss ``inf`` and the gradient 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400.graph.graph import Value
from a1400.graph.tensor import Tensor
from a1400.kernels import ctc as kernel
from a1400.ops.registry import Backward, Result, gradient, op, require

_INT32 = np.dtype(np.int32)
_REAL = (np.dtype(np.float32), np.dtype(np.float64))


def _check(scores: Value, jumps: Value, times: Value, lengths: Value) -> None:
    require(scores.rank == 3 and scores.dtype in _REAL, f"ctc needs float32 or float64 scores [B, T, L], not {scores}")
    b, _, positions = scores.shape
    require(positions % 2 == 1, f"ctc needs a blank around each label: an odd number of positions, not {positions}")
    for name, value, shape in (("jumps", jumps, (b, positions)), ("times", times, (b,)), ("lengths", lengths, (b,))):
        require(value.shape == shape and value.dtype == _INT32, f"ctc's {name} are int32 {list(shape)}, not {value}")


def _infer(attrs: dict[str, Any], *inputs: Value) -> list[Result]:
    _check(*inputs)
    scores = inputs[0]
    return [(scores.shape[:1], scores.dtype), (scores.shape, scores.dtype)]


def _reference(attrs: dict[str, Any], *arrays: np.ndarray) -> list[np.ndarray]:
    return [part.astype(arrays[0].dtype) for part in kernel.forward(*arrays)]


def _infer_gradient(
    attrs: dict[str, Any], scores: Value, jumps: Value, times: Value, lengths: Value, loss: Value, alpha: Value
) -> list[Result]:
    _check(scores, jumps, times, lengths)
    fits = (loss.shape, alpha.shape) == (scores.shape[:1], scores.shape) and {loss.dtype, alpha.dtype} == {scores.dtype}
    require(fits, f"the results {loss} and {alpha} are not those of ctc of {scores}")
    return [(scores.shape, scores.dtype)]


op("ctc", "reduction", _infer, _reference)
op("ctc_gradient", "reduction", _infer_gradient, lambda attrs, x, *rest: kernel.backward(x, *rest).astype(x.dtype))


@gradient("ctc")
def _gradient(b: Backward) -> tuple[Tensor, None, None, None]:
    require(b.coming[1] is None, "ctc has no gradient through alpha")
    loss, alpha = b.outputs
    own = b.x(0).op("ctc_gradient", b.x(1), b.x(2), b.x(3), loss, alpha)
    return own * b.g.reshape((*loss.shape, 1, 1)), None, None, None


def ctc_loss(logits: Tensor, labels: Tensor, times: Tensor, lengths: Tensor, blank: int = 0) -> Tensor:
    """Minus the logarithm of the probability of each row's labels [B]: the sum over all ways to place them in time.

    ``logits`` [B, T, C] (float32 or float64), ``labels`` integers [B, S] of which the first ``lengths`` [B] count,
    ``times`` [B] of the T times; both are taken as 0 or as S and T where outside.  ``blank`` is the class that says
    nothing.  A label among those that count that is no class gives a NaN.
    """
    rows, steps, classes = logits.shape
    count = labels.shape[1]
    require(-classes <= blank < classes, f"the blank {blank} is none of the {classes} classes")
    labels, times, lengths = (x.cast(_INT32) for x in (labels, times, lengths))
    log_probabilities = logits.log_softmax()
    nothing = labels.filled(blank % classes, (rows, count + 1, 1))
    there = (labels >= 0) & (labels < classes)
    known = there.where(labels, 0).pad((0, 0), (0, 1)).expand_dims(2)
    positions = nothing.op("concat", known, axis=2).reshape((rows, 2 * count + 2))
    positions = positions.slice((0, 0), (rows, 2 * count + 1))
    where = positions.expand_dims(1).expand((rows, steps, 2 * count + 1))
    scores = log_probabilities.op("gather_elements", where, axis=2)
    may = positions.slice((0, 2), (rows, 2 * count - 1)) if count else positions.slice((0, 0), (rows, 0))
    before = positions.slice((0, 0), (rows, max(2 * count - 1, 0)))
    # two blanks are alike, so only labels are jumped to
    jumps = may.not_equal(before).cast(_INT32).pad((0, min(2, 2 * count)), (0, 1 - min(1, count)))
    loss, _ = logits.graph.multi("ctc", scores.value, jumps.value, times.value, lengths.value)
    if not count:
        return Tensor(logits.graph, loss)
    place = Tensor(logits.graph, logits.graph.constant(np.arange(count, dtype=_INT32)))
    unknown = (~there & (place < lengths.expand_dims(1))).cast(logits.dtype).max((1,))
    return (unknown > 0.5).where(float("nan"), Tensor(logits.graph, loss))
