"""Recurrent layers, attention and what belongs to it."""

from __future__ import annotations

import numpy as np

from tests.onnx_sweep.case import SUMS, Draw, Node, Tolerance, sweep

STEPS = Tolerance(
    "each step's rounding, and that of exponentials, goes on into the next", rel=64.0, abs=64.0, half=8.0, half_abs=1.0
)
_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


@sweep("RNN", "GRU", "LSTM", tolerance=STEPS, doubt="it leaves lengths, clips and most directions out of account")
def recurrent(draw: Draw) -> Node:
    gates = _GATES[draw.operator]
    steps, batch, width, hidden = draw.size(33), draw.choose([1, 2, 3, 7, 17]), draw.size(65), draw.size(65)
    while steps * batch * hidden * (width + hidden) * gates > 1_500_000:
        steps, hidden = max(steps // 2, 1), max(hidden // 2, 1)
    direction = draw.choose([None, "forward", "reverse", "bidirectional", "bidirectional"])
    ways = 2 if direction == "bidirectional" else 1
    # ONNX Runtime does not run layout 1, and the NumPy reference knows the plainest layers alone
    layout = draw.integer(0, 1) if draw.opset >= 14 and draw.chance(0.2) and direction in (None, "forward") else 0
    spread = 1 / hidden**0.5
    arrays: list[np.ndarray | None] = [
        draw.values((batch, steps, width) if layout else (steps, batch, width), -1, 1),
        draw.values((ways, gates * hidden, width), -spread, spread),
        draw.values((ways, gates * hidden, hidden), -spread, spread),
    ]
    state = (batch, ways, hidden) if layout else (ways, batch, hidden)
    arrays.append(draw.values((ways, 2 * gates * hidden), -1, 1) if draw.chance(0.7) else None)
    lengths = draw.rng.integers(1, steps + 1, batch).astype(np.int32) if draw.chance(0.4) and not layout else None
    arrays.append(lengths)
    arrays.append(draw.values(state, -1, 1) if draw.chance(0.5) else None)
    attrs: dict[str, object] = {"hidden_size": hidden, "direction": direction}
    if layout:
        attrs["layout"] = 1
    if draw.chance(0.2) and not layout:
        attrs["clip"] = 0.7
    if draw.operator == "GRU":
        attrs["linear_before_reset"] = draw.integer(0, 1)
    if draw.operator == "LSTM":
        arrays.append(draw.values(state, -1, 1) if arrays[5] is not None else None)
        arrays.append(draw.values((ways, 3 * hidden), -1, 1) if draw.chance(0.3) else None)
        if draw.chance(0.15) and not layout:
            attrs["input_forget"] = 1
    if draw.chance(0.25) and not layout:
        kinds = {"RNN": ["Relu", "Sigmoid", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
        attrs["activations"] = (
            [draw.choose(kinds["RNN"])] * ways if draw.operator == "RNN" else kinds[draw.operator] * ways
        )
    while arrays[-1] is None:
        arrays.pop()
    fixed = frozenset(i for i in (1, 2, 3, 7) if i < len(arrays) and arrays[i] is not None)
    outputs = 3 if draw.operator == "LSTM" else 2
    doubt = "it does not run layout 1" if layout else ""
    return Node(arrays, attrs, outputs=outputs, constants=fixed if draw.chance(0.8) else frozenset(), doubt=doubt)


@sweep(
    "Attention",
    tolerance=Tolerance("products under a softmax; scores may be stored", rel=64.0, abs=32.0, half=4.0, half_abs=1.0),
)
def attention(draw: Draw) -> Node:
    batch, groups, per = draw.integer(1, 3), draw.choose([1, 2, 3]), draw.choose([1, 1, 2, 4])
    heads = groups * per
    wide, wide_v = (draw.choose([1, 3, 8, 16, 17, 32, 33, 64, 65]) for _ in range(2))
    wide_v = wide if draw.chance(0.7) else wide_v
    queries, keys = (draw.choose([1, 2, 7, 16, 17, 33, 65, 129]) for _ in range(2))
    keys = queries if draw.chance(0.5) else keys
    past = draw.choose([0, 1, 16, 33]) if draw.chance(0.3) else None
    if past is not None:  # one query and several new keys: ONNX Runtime's decoding takes the mask as absent
        keys = queries
    total = keys + (past or 0)
    flat = draw.chance(0.3)
    attrs: dict[str, object] = {}

    def heads_of(count: int, length: int, size: int) -> np.ndarray:
        shape = (batch, length, count * size) if flat else (batch, count, length, size)
        return draw.values(shape, -1, 1)

    arrays: list[np.ndarray | None] = [
        heads_of(heads, queries, wide), heads_of(groups, keys, wide), heads_of(groups, keys, wide_v),
    ]  # fmt: skip
    if flat:
        attrs.update(q_num_heads=heads, kv_num_heads=groups)
    if draw.chance(0.5):
        shape = draw.choose(
            [(queries, total), (1, 1, queries, total), (batch, 1, queries, total), (batch, heads, queries, total)]
        )
        if draw.chance(0.5):
            mask = draw.rng.random(shape) < 0.7
            mask[..., 0] = True  # a row of which nothing is left means different things in different opsets
        else:
            mask = draw.values(shape, -3, 3)
        arrays.append(mask)
    if past is not None:
        arrays += [None] * (4 - len(arrays))
        arrays += [draw.values((batch, groups, past, wide), -1, 1), draw.values((batch, groups, past, wide_v), -1, 1)]
    if draw.chance(0.3):
        attrs["is_causal"] = 1
    if draw.chance(0.3):
        attrs["scale"] = 0.25
    if draw.chance(0.2) and draw.dtype != np.float64:  # ONNX's own body, which then serves, is partly in float32
        attrs["softcap"] = 2.0
    outputs = 1
    if past is not None:
        outputs = 3
        if draw.chance(0.3):
            outputs, attrs["qk_matmul_output_mode"] = 4, draw.integer(0, 3)
    doubt = "of float64 it computes parts in float32" if draw.dtype == np.float64 else ""
    return Node(arrays, attrs, outputs=outputs, scale=float(wide**0.5), doubt=doubt)


@sweep("RotaryEmbedding", tolerance=SUMS)
def rotary(draw: Draw) -> Node:
    batch, heads, length = draw.integer(1, 3), draw.choose([1, 2, 5]), draw.choose([1, 7, 16, 33])
    half = draw.choose([1, 2, 8, 16, 17, 32])
    size = 2 * half
    attrs: dict[str, object] = {"interleaved": draw.choose([None, 0, 1])}
    turned = half
    if half > 2 and draw.chance(0.3):
        turned = half // 2
        attrs["rotary_embedding_dim"] = 2 * turned
    flat = draw.chance(0.4)
    if flat or "rotary_embedding_dim" in attrs:
        attrs["num_heads"] = heads
    x = draw.values((batch, length, heads * size) if flat else (batch, heads, length, size), -1, 1)
    if draw.chance(0.6):
        angles = (length + 5, turned)
        at = draw.rng.integers(0, length + 5, (batch, length)).astype(np.int64)
        return Node([x, draw.values(angles, -1, 1), draw.values(angles, -1, 1), at], attrs, constants=draw.fixed(1, 2))
    angles = (batch, length, turned)
    return Node([x, draw.values(angles, -1, 1), draw.values(angles, -1, 1)], attrs)


@sweep("LinearAttention", tolerance=STEPS)
def linear_attention(draw: Draw) -> Node:
    rule = draw.choose([None, "linear", "gated", "delta", "gated_delta"])
    batch, groups, per = draw.integer(1, 2), draw.choose([1, 2, 3]), draw.choose([1, 2])
    length, dk, dv = draw.choose([1, 2, 7, 17, 33]), draw.choose([1, 3, 8, 16, 17]), draw.choose([1, 3, 8, 17])
    spread = 1 / dk**0.5
    arrays: list[np.ndarray | None] = [
        draw.values((batch, length, groups * per * dk), -1, 1),
        draw.values((batch, length, groups * dk), -spread, spread),
        draw.values((batch, length, groups * dv), -1, 1),
        draw.values((batch, groups, dk, dv), -1, 1) if draw.chance(0.6) else None,
        draw.values((batch, length, groups * draw.choose([1, dk])), -2, 0)
        if rule in (None, "gated", "gated_delta")
        else None,
        draw.values((batch, length, draw.choose([1, groups])), 0, 1)
        if rule in (None, "delta", "gated_delta")
        else None,
    ]
    while arrays[-1] is None:
        arrays.pop()
    attrs = {"update_rule": rule, "q_num_heads": groups * per, "kv_num_heads": groups}
    if draw.chance(0.3):
        attrs["scale"] = 0.25
    return Node(arrays, attrs, outputs=2, scale=float(length**0.5))
