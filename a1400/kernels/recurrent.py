"""The recurrent part of LSTM, GRU and RNN (ONNX semantics), after one GEMM has made all input projections.

A launch does steps ``step_begin .. step_end`` of a direction.  Two ways to run a direction (:func:`choose_steps`):
one launch over all steps (variants ``*_sequence``: a work-group owns rows of the batch), or one launch per step with
``step_end = step_begin + 1`` (variants ``*_step``: work-groups share the hidden units, all compute units busy at
batch 1).  ``spec.choose`` picks the ``*_step`` variant for every launch of one step.

======================  ==============================================================================================
parameter               meaning
======================  ==============================================================================================
xw: T                   X W^T + Wb + Rb for all times; gate g, unit j at ``xw_off + t*xw_t + b*xw_b + g*H + j``; gates
                        in ONNX order: lstm i,o,f,c; gru z,r,h; rnn one.  Gru with linear_before_reset: no Rbh inside
r: T                    recurrent weights packed by :func:`pack`: [ceil(H/16), H, gates, 16]
peep: T                 lstm: [3, H] peepholes i,o,f (any buffer where has_peep is 0)
rbh: T                  gru: [H], used with linear_before_reset only
lens: i32               [B] sequence lengths (any buffer where has_lens is 0)
h0 c0: T                initial state, row b at ``h0_off + b*h0_b`` (any buffer where has_h0 / has_c0 is 0: zeros)
state: f32 (inout)      workspace between launches; lstm [B, H] (the cell state); gru [B, 2, H] (only written when
                        linear_before_reset is 0)
y: T (inout)            hidden state at ``y_off + t*y_t + b*y_b + j``; steps read the previous one from it; 0 beyond
                        a row's length.  Bidirectional [T,2,B,H] and layout=1 are a matter of offset and strides
hn cn: T (inout)        state after a row's last step, at ``hn_off + b*hn_b``
reverse                 1: a row's times run from its length - 1 down to 0
act_f alpha_f beta_f    index in :data:`ACTIVATIONS`; lstm has f, g, h; gru f, g; rnn f
clip                    bound on what gates' activations see; 0 none (the cell state itself is not clipped)
input_forget            lstm: f = 1 - i
phase                   gru, launches of one step with linear_before_reset 0: launch phase 0 (z, r), then phase 1
                        (candidate and update); everything else: 2
======================  ==============================================================================================

A row of length 0 ends with its initial state.  h is kept between steps in type T, the cell state in float.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from a1400 import dtypes
from a1400.backends.base import DeviceInfo, Grid
from a1400.kernels import recurrent_reference as ref
from a1400.kernels.recurrent_reference import ACTIVATIONS, UNITS, pack
from a1400.kernels.spec import Case, Data, KernelSpec, Scalars, Tunable, Tunables, Variant, params, register
from a1400.kernels.strided import ceil_div

__all__ = ["ACTIVATIONS", "GRU", "LSTM", "RNN", "UNITS", "choose_steps", "pack"]

F32, F16, BF16 = np.dtype(np.float32), np.dtype(np.float16), dtypes.bfloat16
_ROWS = 4  # of the batch, that a work-item on a CPU takes together
_GATES = {"lstm": 4, "gru": 3, "rnn": 1}
Given = Mapping[str, int | float]
_ACTS = {"lstm": "fgh", "gru": "fg", "rnn": "f"}


def choose_steps(name: str, length: int, batch: int, hidden: int, info: DeviceInfo) -> bool:
    """True where one launch per step is faster than one launch over the whole sequence on ``info``.

    A launch costs some microseconds, and the whole sequence in one launch keeps busy one compute unit per group of
    rows (CPU) or per row (GPU).  On CPUs a step must read weights that one core's cache does not hold to be worth it.
    """
    if info.compute_units <= 1:
        return False
    work = _GATES[name] * hidden * hidden
    if info.kind == "gpu":
        return work >= 2**16
    return work >= 2**19 and ceil_div(batch, _ROWS) < info.compute_units


def _cpu_sequence(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (ceil_div(s["B"], t["ROWS"]), 1, 1), (1, 1, 1)


def _cpu_step(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (ceil_div(ceil_div(s["H"], UNITS), t["BLOCKS"]), ceil_div(s["B"], t["ROWS"]), 1), (1, 1, 1)


def _gpu_sequence(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (int(s["B"]), 1, 1), (UNITS * t["SLICES"], 1, 1)


def _gpu_step(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (ceil_div(s["H"], UNITS) * int(s["B"]), 1, 1), (UNITS * t["SLICES"], 1, 1)


def _one_step(s: Scalars) -> bool:
    return s["step_end"] - s["step_begin"] == 1 and not (s.get("phase", 2) == 2 and not s.get("linear_before_reset", 1))


def _whole(s: Scalars) -> bool:
    return s.get("phase", 2) == 2


def _variants(name: str) -> tuple[Variant, ...]:
    rows = Tunable("ROWS", _ROWS, (1, 2, 4), "rows of the batch that one work-item takes together")
    blocks = Tunable("BLOCKS", 4, (1, 2, 4, 8), "blocks of 16 hidden units that one work-item takes")
    step, sequence = Tunable("ONE_STEP", 1, (1,), "1"), Tunable("ONE_STEP", 0, (0,), "0: all hidden units")
    slices = Tunable("SLICES", 16, (4, 8, 16), "threads that share a hidden unit's inputs")
    cpu = {"backends": ("opencl",), "source": f"cpu/{name}", "vector_width": 16}
    return (
        Variant("cpu_step", "cpu", _cpu_step, (rows, blocks, step), supports=_one_step, **cpu),  # type: ignore[arg-type]
        Variant("cpu_sequence", "cpu", _cpu_sequence, (rows, Tunable("BLOCKS", 1, (1,), "1: not used"), sequence),
                supports=_whole, test_tunables=({"ROWS": 1},), **cpu),  # type: ignore[arg-type]
        Variant("gpu_step", "gpu", _gpu_step, (step, slices), supports=_one_step),
        Variant("gpu_sequence", "gpu", _gpu_sequence, (sequence, slices), supports=_whole, min_blocks=2,
                test_tunables=({"SLICES": 4},)),
    )  # fmt: skip


def _params(name: str) -> str:
    lines = ["in xw: T", "in r: T"]
    lines += {"lstm": ["in peep: T"], "gru": ["in rbh: T"], "rnn": []}[name]
    lines += ["in lens: i32", "in h0: T"]
    lines += ["in c0: T"] if name == "lstm" else []
    lines += ["inout state: f32"] if name != "rnn" else []
    lines += ["inout y: T", "inout hn: T"]
    lines += ["inout cn: T"] if name == "lstm" else []
    lines += [f"int {n}" for n in ("step_begin", "step_end", "T_len", "B", "H", "reverse", "has_lens", "has_h0")]
    lines += {"lstm": ["int has_c0", "int has_peep", "int input_forget"],
              "gru": ["int linear_before_reset", "int phase"], "rnn": []}[name]  # fmt: skip
    for a in _ACTS[name]:
        lines += [f"int act_{a}", f"float alpha_{a}", f"float beta_{a}"]
    lines += ["float clip"]
    lines += [f"int {n}" for n in ("xw_off", "xw_t", "xw_b", "y_off", "y_t", "y_b", "h0_off", "h0_b", "hn_off", "hn_b")]
    lines += [f"int {n}" for n in ("c0_off", "c0_b", "cn_off", "cn_b")] if name == "lstm" else []
    return "\n".join(lines)


def scalars(name: str, length: int, batch: int, hidden: int, **given: int | float) -> dict[str, int | float]:
    """Scalars of a whole forward pass over dense [T,B,*] tensors with ONNX's activations; ``given`` overrides."""
    g = _GATES[name]
    s: dict[str, int | float] = {
        "step_begin": 0, "step_end": length, "T_len": length, "B": batch, "H": hidden, "reverse": 0, "has_lens": 0,
        "has_h0": 0, "clip": 0.0, "xw_off": 0, "xw_t": batch * g * hidden, "xw_b": g * hidden, "y_off": 0,
        "y_t": batch * hidden, "y_b": hidden, "h0_off": 0, "h0_b": hidden, "hn_off": 0, "hn_b": hidden,
    }  # fmt: skip
    if name == "lstm":
        s |= {"has_c0": 0, "has_peep": 0, "input_forget": 0, "c0_off": 0, "c0_b": hidden, "cn_off": 0, "cn_b": hidden}
    if name == "gru":
        s |= {"linear_before_reset": 0, "phase": 2}
    defaults = {"lstm": (0, 1, 1), "gru": (0, 1), "rnn": (1,)}[name]
    for a, act in zip(_ACTS[name], defaults):
        s |= {f"act_{a}": act, f"alpha_{a}": 0.0, f"beta_{a}": 0.0}
    unknown = set(given) - set(s)
    if unknown:
        raise KeyError(f"{name} has no scalars {sorted(unknown)}")
    return s | given


def _case(
    name: str, label: str, length: int, batch: int, hidden: int, given: Given | None = None, *,
    dtype: np.dtype = F32, lens: tuple[int, ...] = (),
) -> Case:  # fmt: skip
    s = scalars(name, length, batch, hidden, **{"has_lens": int(bool(lens)), **(given or {})})
    g, blocks = _GATES[name], ceil_div(hidden, UNITS)
    weights = np.random.default_rng(3).uniform(-1, 1, (g * hidden, hidden)) * hidden**-0.5
    arrays: dict[str, Data | np.ndarray] = {
        "xw": Data((int(s["xw_off"]) + length * batch * g * hidden,), "T"),
        "r": pack(weights.astype(dtype), g).reshape(blocks, hidden, g, UNITS),
        "lens": np.array(lens or (0,), np.int32),
        "h0": Data((batch, hidden), "T"),
        "y": Data((length, 2, batch, hidden), "T"),  # room for two directions
        "hn": Data((batch, hidden), "T"),
    }
    if name == "lstm":
        arrays |= {"peep": Data((3, hidden), "T"), "c0": Data((batch, hidden), "T"), "cn": Data((batch, hidden), "T")}
        arrays["state"] = Data((batch, hidden), "f32")
    if name == "gru":
        arrays |= {"rbh": Data((hidden,), "T"), "state": Data((batch, 2, hidden), "f32")}
    s |= {"y_t": 2 * batch * hidden, "y_off": batch * hidden * int(s["reverse"])}
    return Case(label, arrays, s, {}, {"T": dtype})


def _cases(name: str) -> Callable[[], Iterator[Case]]:
    def cases() -> Iterator[Case]:
        extra: tuple[Given, ...] = ({},)
        if name == "gru":
            extra = ({"linear_before_reset": 0}, {"linear_before_reset": 1})
        for i, e in enumerate(extra):
            state = {**e, "has_h0": 1}
            yield _case(name, f"one{i}", 1, 1, 1, e)
            yield _case(name, f"plain{i}", 5, 3, 48, state)
            yield _case(name, f"odd{i}", 4, 5, 37, {**e, "xw_off": 3})
            yield _case(name, f"reverse{i}", 4, 1, 20, {**state, "reverse": 1})
            yield _case(name, f"lens{i}", 6, 4, 17, state, lens=(6, 3, 0, 1))
            yield _case(name, f"lens_reverse{i}", 6, 4, 17, {**e, "reverse": 1}, lens=(2, 6, 0, 1))
            yield _case(name, f"clip{i}", 3, 2, 16, {**state, "clip": 0.25})
            yield _case(name, f"half{i}", 3, 2, 24, e, dtype=F16)
        yield _case(name, "bfloat", 3, 2, 24, dtype=BF16)
        middle = {**extra[-1], "step_begin": 2, "step_end": 3}
        yield _case(name, "middle_step", 5, 6, 70, middle)
        yield _case(name, "middle_step_lens", 5, 3, 70, {**middle, "reverse": 1}, lens=(3, 5, 1))
        if name == "lstm":
            yield _case(name, "peepholes", 3, 2, 21, {"has_peep": 1, "has_c0": 1, "has_h0": 1})
            yield _case(name, "coupled", 3, 2, 21, {"input_forget": 1, "has_c0": 1})
        if name == "gru":
            for phase in (0, 1):
                yield _case(name, f"phase{phase}", 3, 6, 37, {"phase": phase, "step_begin": 1, "step_end": 2})
                yield _case(name, f"phase{phase}_first", 3, 1, 37, {"phase": phase, "step_end": 1, "has_h0": 1})
        for i, act in enumerate(ACTIVATIONS):
            alpha, beta = (0.5, 0.1) if act == "affine" else ref.DEFAULT_ALPHA_BETA.get(act, (0.0, 0.0))
            yield _case(name, act, 2, 1, 18, {"act_f": i, "alpha_f": alpha, "beta_f": beta})

    return cases


_STEPS: dict[str, type[ref.Steps]] = {"lstm": ref.Lstm, "gru": ref.Gru, "rnn": ref.Rnn}


def _reference(name: str) -> Callable[[Mapping[str, np.ndarray], Scalars, Case], Mapping[str, np.ndarray]]:
    return lambda arrays, s, case: _STEPS[name](arrays, s, case).run()


def _declare(name: str) -> KernelSpec:
    g = _GATES[name]
    return register(
        KernelSpec(
            name=name,
            doc=f"recurrent part of ONNX {name.upper()}, one direction, any number of steps",
            params=params(_params(name)),
            variants=_variants(name),
            reference=_reference(name),
            cases=_cases(name),
            types={"T": (F32, F16, BF16)},
            exact=False,
            tolerance={"f32": (1e-5, 1e-5), "f16": (4e-3, 4e-3), "bf16": (3e-2, 3e-2)},
            flops=lambda s: 2.0 * g * s["H"] * s["H"] * s["B"] * (s["step_end"] - s["step_begin"]),
            bytes=lambda s: 4.0 * g * s["H"] * s["H"] * (s["step_end"] - s["step_begin"]),
        )
    )


LSTM = _declare("lstm")
GRU = _declare("gru")
RNN = _declare("rnn")
