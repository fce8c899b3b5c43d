"""The recurrent part of LSTM, GRU and RNN (ONNX semantics), after one GEMM has made all input projections.

A launch does steps ``step_begin .. step_end`` of ``D`` directions side by side, in one of three ways
(:func:`choose_way`): one launch over all steps in which a work-group owns rows of the batch (variants ``*_sequence``);
one launch over all steps in which a team of work-items shares the hidden units and keeps step through atomics
(``cpu_team``); one launch per step with ``step_end = step_begin + 1`` (``*_step``: work-groups share the hidden units).
``spec.choose`` picks the ``*_step`` variant for every launch of one step.

======================  ==============================================================================================
parameter               meaning
======================  ==============================================================================================
xw: T                   X W^T + Wb + Rb for all times; gate g, unit j at ``xw_off + t*xw_t + b*xw_b + g*H + j``; gates
                        in ONNX order: lstm i,o,f,c; gru z,r,h; rnn one.  Gru with linear_before_reset: no Rbh inside
xw_d y_d h0_d ...       distance between directions, in elements
r: T                    recurrent weights packed by :func:`pack`: [D, ceil(H/16), H, gates, 16]
peep: T                 lstm: [D, 3, H] peepholes i,o,f (any buffer where has_peep is 0)
rbh: T                  gru: [D, H], used with linear_before_reset only
lens: i32               [B] sequence lengths, taken as T_len where larger (any buffer where has_lens is 0)
h0 c0: T                initial state, row b at ``h0_off + b*h0_b`` (any buffer where has_h0 / has_c0 is 0: zeros)
state: ACC (inout)      workspace between launches; lstm [D, B, H] (the cell state); gru [D, B, 2, H] (only written
                        when linear_before_reset is 0)
sync: i32 (inout)       where a team keeps step: :func:`sync_size` zeros, and zeros again after the launch
y: T (inout)            hidden state at ``y_off + t*y_t + b*y_b + j``; steps read the previous one from it; 0 beyond
                        a row's length.  Bidirectional [T,2,B,H] and layout=1 are a matter of offset and strides
hn cn: T (inout)        state after a row's last step, at ``hn_off + b*hn_b``
reverse                 bit d: in direction d a row's times run from its length - 1 down to 0
act_f alpha_f beta_f    index in :data:`ACTIVATIONS`; lstm has f, g, h; gru f, g; rnn f
clip                    bound on what gates' activations see; 0 none (the cell state itself is not clipped)
input_forget            lstm: f = 1 - i
phase                   gru, launches of one step with linear_before_reset 0: launch phase 0 (z, r), then phase 1
                        (candidate and update); everything else: 2
======================  ==============================================================================================

A row of length 0 ends with its initial state.  h is kept between steps in type T, the cell state in ACC: f64 where T
is, else f32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from a1400 import dtypes
from a1400.backends.base import DeviceInfo, Grid
from a1400.kernels import recurrent_reference as ref
from a1400.kernels.geometry import runs, runs_vectors
from a1400.kernels.recurrent_reference import ACTIVATIONS, UNITS, pack
from a1400.kernels.spec import Case, Data, KernelSpec, Scalars, Tunable, Tunables, Variant, params, register
from a1400.kernels.strided import ceil_div

__all__ = [
    "ACTIVATIONS", "GRU", "LSTM", "MOST_MEMBERS", "RNN", "UNITS", "accumulated", "choose_way", "pack", "sync_size",
]  # fmt: skip

F32, F64, F16, BF16 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16), dtypes.bfloat16
_ROWS = 4  # of the batch, that a work-item on a CPU takes together
_SPREAD = 16  # as in kernels_opencl/cpu/recurrent.clh
_TEAM_WORK = 2**14  # multiply-adds of a step that otherwise idle compute units should find in it
_TEAM_WEIGHTS = 2**18  # recurrent weights that one core reads from its own cache; only for more is a part far better
MOST_MEMBERS = 16  # of a team
_GATES = {"lstm": 4, "gru": 3, "rnn": 1}
Given = Mapping[str, int | float]
_ACTS = {"lstm": "fgh", "gru": "fg", "rnn": "f"}


def sync_size(directions: int, batch: int, members: int) -> int:
    """Elements of ``sync`` that a team of ``members`` needs (more than enough for any number of rows together)."""
    return directions * batch * _SPREAD * (members + 1) + 1


def choose_way(name: str, length: int, batch: int, hidden: int, directions: int, info: DeviceInfo) -> str:
    """``step``, ``team`` or ``sequence``: the fastest way to run a layer on ``info``.

    A launch costs some microseconds and a team's agreement on a step about half of one - far more while other programs
    take a core from one of its members; the whole sequence without either keeps busy one compute unit per chain - a
    direction's group of rows (CPU) or row (GPU).
    """
    if info.compute_units <= 1:
        return "sequence"
    work = _GATES[name] * hidden * hidden
    if info.kind == "gpu":
        return "step" if work >= 2**16 else "sequence"
    chains = directions * ceil_div(batch, _ROWS)
    spare = -chains % info.compute_units
    idle = spare / (chains + spare)
    shared = work * idle * chains / directions >= _TEAM_WORK or work > _TEAM_WEIGHTS
    return "team" if length > 1 and shared else "sequence"


def _cpu_sequence(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (1, ceil_div(s["B"], t["ROWS"]) * int(s["D"]), 1), (1, 1, 1)


def _cpu_step(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (ceil_div(ceil_div(s["H"], UNITS), t["BLOCKS"]), ceil_div(s["B"], t["ROWS"]) * int(s["D"]), 1), (1, 1, 1)


def _cpu_team(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (t["MEMBERS"], 1, 1), (1, 1, 1)


def _gpu_sequence(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (int(s["B"]), int(s["D"]), 1), (UNITS * t["SLICES"], 1, 1)


def _gpu_step(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (ceil_div(s["H"], UNITS) * int(s["B"]), int(s["D"]), 1), (UNITS * t["SLICES"], 1, 1)


def _one_step(s: Scalars) -> bool:
    return s["step_end"] - s["step_begin"] == 1 and not (s.get("phase", 2) == 2 and not s.get("linear_before_reset", 1))


def _whole(s: Scalars) -> bool:
    return s.get("phase", 2) == 2


def _variants(name: str) -> tuple[Variant, ...]:
    rows = Tunable("ROWS", _ROWS, (1, 2, 4), "rows of the batch that one work-item takes together")
    blocks = Tunable("BLOCKS", 4, (1, 2, 4, 8), "blocks of 16 hidden units that one work-item takes")
    step, sequence = Tunable("ONE_STEP", 1, (1,), "1"), Tunable("ONE_STEP", 0, (0,), "0: all hidden units")
    slices = Tunable("SLICES", 16, (4, 8, 16), "threads that share a hidden unit's inputs")
    alone, unused = Tunable("MEMBERS", 0, (0,), "0: no team"), Tunable("BLOCKS", 1, (1,), "1: not used")
    members = Tunable("MEMBERS", 2, (2, 4, 8, MOST_MEMBERS), "work-items that share the units of every row",
                      searched=False)  # `sync` is made for so many
    cpu = {"backends": ("opencl",), "source": f"cpu/{name}", "vector_width": 16, "requires": runs_vectors}
    return (
        Variant("cpu_step", "cpu", _cpu_step, (rows, blocks, step, alone), supports=_one_step,
                **cpu),  # type: ignore[arg-type]
        Variant("cpu_sequence", "cpu", _cpu_sequence, (rows, unused, sequence, alone), supports=_whole,
                test_tunables=({"ROWS": 1},), **cpu),  # type: ignore[arg-type]
        Variant("cpu_team", "cpu", _cpu_team, (rows, unused, sequence, members), supports=_whole,
                test_tunables=({"ROWS": 1, "MEMBERS": 4},), **cpu),  # type: ignore[arg-type]
        Variant("gpu_step", "gpu", _gpu_step, (step, slices), supports=_one_step, requires=runs),
        Variant("gpu_sequence", "gpu", _gpu_sequence, (sequence, slices), supports=_whole, min_blocks=2,
                test_tunables=({"SLICES": 4},), requires=runs),
    )  # fmt: skip


def _params(name: str) -> str:
    lines = ["in xw: T", "in r: T"]
    lines += {"lstm": ["in peep: T"], "gru": ["in rbh: T"], "rnn": []}[name]
    lines += ["in lens: i32", "in h0: T"]
    lines += ["in c0: T"] if name == "lstm" else []
    lines += ["inout state: ACC"] if name != "rnn" else []
    lines += ["inout sync: i32", "inout y: T", "inout hn: T"]
    lines += ["inout cn: T"] if name == "lstm" else []
    lines += [f"int {n}" for n in ("step_begin", "step_end", "T_len", "D", "B", "H", "reverse", "has_lens", "has_h0")]
    lines += {"lstm": ["int has_c0", "int has_peep", "int input_forget"],
              "gru": ["int linear_before_reset", "int phase"], "rnn": []}[name]  # fmt: skip
    for a in _ACTS[name]:
        lines += [f"int act_{a}", f"float alpha_{a}", f"float beta_{a}"]
    lines += ["float clip"]
    places = [("xw", "tdb"), ("y", "tdb"), ("h0", "db"), ("hn", "db")]
    places += [("c0", "db"), ("cn", "db")] if name == "lstm" else []
    lines += [f"int {n}_{part}" for n, parts in places for part in ("off", *parts)]
    return "\n".join(lines)


def scalars(name: str, length: int, batch: int, hidden: int, **given: int | float) -> dict[str, int | float]:
    """Scalars of a whole pass of ``given["D"]`` directions (default 1) with ONNX's activations; ``given`` overrides.

    Tensors are dense: xw [T, B, D, gates, H], y [T, D, B, H], states [D, B, H].
    """
    g, d = _GATES[name], int(given.get("D", 1))
    s: dict[str, int | float] = {
        "step_begin": 0, "step_end": length, "T_len": length, "D": d, "B": batch, "H": hidden, "reverse": 0,
        "has_lens": 0, "has_h0": 0, "clip": 0.0,
        "xw_off": 0, "xw_t": batch * d * g * hidden, "xw_d": g * hidden, "xw_b": d * g * hidden,
        "y_off": 0, "y_t": d * batch * hidden, "y_d": batch * hidden, "y_b": hidden,
    }  # fmt: skip
    states = ("h0", "hn", "c0", "cn") if name == "lstm" else ("h0", "hn")
    for state in states:
        s |= {f"{state}_off": 0, f"{state}_d": batch * hidden, f"{state}_b": hidden}
    if name == "lstm":
        s |= {"has_c0": 0, "has_peep": 0, "input_forget": 0}
    if name == "gru":
        s |= {"linear_before_reset": 0, "phase": 2}
    defaults = {"lstm": (0, 1, 1), "gru": (0, 1), "rnn": (1,)}[name]
    for a, act in zip(_ACTS[name], defaults):
        s |= {f"act_{a}": act, f"alpha_{a}": 0.0, f"beta_{a}": 0.0}
    unknown = set(given) - set(s)
    if unknown:
        raise KeyError(f"{name} has no scalars {sorted(unknown)}")
    return s | given


def accumulated(name: str, dtype: np.dtype) -> dict[str, np.dtype]:
    """The types of a call of layer ``name`` on tensors of ``dtype``."""
    return {"T": dtype} | ({"ACC": F64 if dtype == F64 else F32} if name != "rnn" else {})


def _case(
    name: str, label: str, length: int, batch: int, hidden: int, given: Given | None = None, *,
    dtype: np.dtype = F32, lens: tuple[int, ...] = (),
) -> Case:  # fmt: skip
    s = scalars(name, length, batch, hidden, **{"has_lens": int(bool(lens)), **(given or {})})
    g, d = _GATES[name], int(s["D"])
    weights = np.random.default_rng(3).uniform(-1, 1, (d, g * hidden, hidden)) * hidden**-0.5
    arrays: dict[str, Data | np.ndarray] = {
        "xw": Data((int(s["xw_off"]) + length * batch * d * g * hidden,), "T"),
        "r": np.stack([pack(w.astype(dtype), g) for w in weights]),
        "lens": np.array(lens or (0,), np.int32),
        "sync": np.zeros(sync_size(d, batch, 4), np.int32),
        "h0": Data((d, batch, hidden), "T"),
        "y": Data((length, 2, batch, hidden), "T"),  # room for two directions
        "hn": Data((d, batch, hidden), "T"),
    }
    if name == "lstm":
        arrays |= {"peep": Data((d, 3, hidden), "T"), "state": Data((d, batch, hidden), "ACC")}
        arrays |= {"c0": Data((d, batch, hidden), "T"), "cn": Data((d, batch, hidden), "T")}
    if name == "gru":
        arrays |= {"rbh": Data((d, hidden), "T"), "state": Data((d, batch, 2, hidden), "ACC")}
    if d == 1:
        s |= {"y_t": 2 * batch * hidden, "y_off": batch * hidden * int(s["reverse"])}
    return Case(label, arrays, s, {}, accumulated(name, dtype))


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
            yield _case(name, f"lens_beyond{i}", 4, 3, 17, {**state, "reverse": 1}, lens=(9, 4, -1))
            both = {**state, "D": 2, "reverse": 2}
            yield _case(name, f"both{i}", 5, 1, 70, both)
            yield _case(name, f"both_lens{i}", 5, 6, 17, both, lens=(5, 3, 0, 1, 2, 4))
            yield _case(name, f"clip{i}", 3, 2, 16, {**state, "clip": 0.25})
            yield _case(name, f"half{i}", 3, 2, 24, e, dtype=F16)
            yield _case(name, f"double{i}", 3, 2, 21, state, dtype=F64)
        yield _case(name, "bfloat", 3, 2, 24, dtype=BF16)
        middle = {**extra[-1], "step_begin": 2, "step_end": 3}
        yield _case(name, "middle_step", 5, 6, 70, middle)
        yield _case(name, "middle_steps", 6, 2, 40, {**middle, "D": 2, "reverse": 1, "step_end": 5})
        yield _case(name, "middle_step_lens", 5, 3, 70, {**middle, "reverse": 1}, lens=(3, 5, 1))
        if name == "lstm":
            yield _case(name, "peepholes", 3, 2, 21, {"has_peep": 1, "has_c0": 1, "has_h0": 1})
            yield _case(name, "peepholes_both", 3, 2, 21, {"has_peep": 1, "has_c0": 1, "D": 2, "reverse": 2})
            yield _case(name, "coupled", 3, 2, 21, {"input_forget": 1, "has_c0": 1})
        if name == "gru":
            for phase in (0, 1):
                both = {"phase": phase, "step_begin": 1, "step_end": 2, "D": 2, "reverse": 2}
                yield _case(name, f"phase{phase}_both", 3, 2, 37, both)
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
            doc=f"recurrent part of ONNX {name.upper()}, one or two directions, any number of steps",
            params=params(_params(name)),
            variants=_variants(name),
            reference=_reference(name),
            cases=_cases(name),
            types={"T": dtypes.FLOATS} | ({"ACC": (F32, F64)} if name != "rnn" else {}),
            exact=False,
            tolerance={"f32": (1e-5, 1e-5), "f16": (4e-3, 4e-3), "bf16": (3e-2, 3e-2), "f64": (1e-11, 1e-11)},
            flops=lambda s: 2.0 * g * s["H"] * s["H"] * s["B"] * s["D"] * (s["step_end"] - s["step_begin"]),
            bytes=lambda s: 4.0 * g * s["H"] * s["H"] * s["D"] * (s["step_end"] - s["step_begin"]),
        )
    )


LSTM = _declare("lstm")
GRU = _declare("gru")
RNN = _declare("rnn")
