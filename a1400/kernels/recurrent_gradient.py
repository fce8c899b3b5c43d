"""A recurrent layer's walk backwards: from what reaches the hidden states to what reaches the gates' inputs.

One launch takes all steps of all directions: a work-item (CPU) owns rows of the batch, a work-group (GPU) one row.
Directions have the same activations.  All buffers are dense.  P is 4 H for lstm, H for rnn, 3 H for gru and 4 H with
``linear``, where the candidate's part from x is third and that from the hidden state fourth.

======================  ==============================================================================================
parameter               meaning
======================  ==============================================================================================
pre dpre: T             [D, T, B, P] the gates' inputs, and what reaches them: zeros beyond a row's length
r: T                    [D, G * H, H] recurrent weights as ONNX has them
h dy: T                 [D, T, B, H] hidden state before each step; what reaches the one behind it from outside
lens: i32               [B] numbers of steps, taken as T_len where larger (any buffer where has_lens is 0)
c0 dhn dcn: T           [D, B, H] first cell state, what reaches the last states (any buffer where has_... is 0: zeros)
peep: T                 lstm: [D, 3, H] peepholes i, o, f (any buffer where has_peep is 0)
state: ACC (inout)      [D, B, 2, H] workspace
dh0: T                  [D, B, H] what reaches the first hidden state
dc0 c: T (inout)        lstm: [D, B, H], and the cell states behind each step [D, T, B, H], zeros beyond a row's length;
                        others leave them as they are
kind linear             0 lstm, 1 gru, 2 rnn; gru: the reset gate comes behind the product
reverse                 bit d: in direction d the forward pass runs from a row's last time to its first
act_f alpha_f ...       as in the forward kernels, for activations f, g, h
clip input_forget       as in the forward kernels
======================  ==============================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from a1400 import dtypes
from a1400.backends.base import Grid
from a1400.kernels.geometry import runs, runs_vectors
from a1400.kernels.recurrent_gradient_reference import Walk
from a1400.kernels.recurrent_reference import ACTIVATIONS, DEFAULT_ALPHA_BETA
from a1400.kernels.spec import Case, Data, KernelSpec, Scalars, Tunable, Tunables, Variant, params, register
from a1400.kernels.strided import ceil_div

F32, F64, F16, BF16 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16), dtypes.bfloat16
KINDS = ("lstm", "gru", "rnn")
_GATES = {"lstm": 4, "gru": 3, "rnn": 1}
_STATES = ("c0", "dhn", "dcn")


def _cpu(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (ceil_div(s["B"], t["ROWS"]), int(s["D"]), 1), (1, 1, 1)


def _gpu(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (int(s["B"]), int(s["D"]), 1), (t["GROUP"], 1, 1)


def scalars(kind: str, steps: int, batch: int, hidden: int, **given: int | float) -> dict[str, int | float]:
    """Scalars of a pass of ``given["D"]`` directions (default 1) with the usual activations; ``given`` overrides."""
    s: dict[str, int | float] = {
        "kind": KINDS.index(kind), "linear": 0, "T_len": steps, "D": 1, "B": batch, "H": hidden, "reverse": 0,
        "has_lens": 0, "has_peep": 0, **{f"has_{name}": 0 for name in _STATES}, "input_forget": 0, "clip": 0.0,
    }  # fmt: skip
    for letter, act in zip("fgh", (1, 0, 0) if kind == "rnn" else (0, 1, 1)):
        s |= {f"act_{letter}": act, f"alpha_{letter}": 0.0, f"beta_{letter}": 0.0}
    return s | given


def _reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    n = {key: int(value) for key, value in s.items()}
    kind, d, t, b, h = KINDS[n["kind"]], n["D"], n["T_len"], n["B"], n["H"]
    acts = [(ACTIVATIONS[n[f"act_{a}"]], float(s[f"alpha_{a}"]), float(s[f"beta_{a}"])) for a in "fgh"]
    counts = np.minimum(arrays["lens"], t) if n["has_lens"] else np.full(b, t)
    pre, r, hs, dy = (arrays[name].reshape(d, -1) for name in ("pre", "r", "h", "dy"))
    c0, dhn, dcn = (arrays[k].reshape(d, b, h) if n[f"has_{k}"] else np.zeros((d, b, h)) for k in _STATES)
    holes = arrays["peep"].reshape(d, 3, h) if n["has_peep"] else np.zeros((d, 3, h))
    parts = []
    for i in range(d):
        coupled, back = bool(n["input_forget"]), bool(n["reverse"] >> i & 1)
        walk = Walk(kind, acts, float(s["clip"]), bool(n["linear"]), coupled, back, case.types["T"])
        parts.append(
            walk.run(
                pre[i].reshape(t, b, -1), r[i].reshape(-1, h), hs[i].reshape(t, b, h), dy[i].reshape(t, b, h), counts,
                c0[i], holes[i], dhn[i], dcn[i],
            )
        )  # fmt: skip
    dpre, dh0, dc0, cells = (np.stack(part) for part in zip(*parts))
    result = {"dpre": dpre, "dh0": dh0, "state": np.stack([dh0, dc0], axis=2)}
    return result | ({"dc0": dc0, "c": cells} if kind == "lstm" else {name: arrays[name] for name in ("dc0", "c")})


def _case(
    name: str, kind: str, steps: int, batch: int, hidden: int, given: Mapping[str, int | float] | None = None, *,
    dtype: np.dtype = F32, lens: tuple[int, ...] = (),
) -> Case:  # fmt: skip
    s = scalars(kind, steps, batch, hidden, **{"has_lens": int(bool(lens)), **(given or {})})
    d, size = int(s["D"]), (_GATES[kind] + int(s["linear"])) * hidden
    limit, lstm = 0.5 * hidden**-0.5, kind == "lstm"
    arrays: dict[str, Data | np.ndarray] = {
        "pre": Data((d, steps, batch, size), "T"), "r": Data((d, _GATES[kind] * hidden, hidden), "T", -limit, limit),
        "h": Data((d, steps, batch, hidden), "T"), "dy": Data((d, steps, batch, hidden), "T"),
        "lens": np.array(lens or (0,), np.int32), "peep": Data((d, 3, hidden), "T"),
        **{key: Data((d, batch, hidden), "T") for key in _STATES},
        "state": Data((d, batch, 2, hidden), "ACC"),
        "dc0": Data((d, batch, hidden) if lstm else (1,), "T"),
        "c": Data((d, steps, batch, hidden) if lstm else (1,), "T"),
    }  # fmt: skip
    outputs = {"dpre": ((d, steps, batch, size), "T"), "dh0": ((d, batch, hidden), "T")}
    return Case(name, arrays, s, outputs, {"T": dtype, "ACC": F64 if dtype == F64 else F32})


def _cases() -> Iterator[Case]:
    states = {"has_c0": 1, "has_dhn": 1, "has_dcn": 1}
    both = {"D": 2, "reverse": 2}
    yield _case("lstm", "lstm", 3, 5, 20, states)
    yield _case("lstm_one", "lstm", 1, 1, 1)
    yield _case("lstm_both_lens", "lstm", 4, 3, 16, {**both, "has_peep": 1, **states}, lens=(2, 0, 9))
    yield _case("lstm_coupled", "lstm", 2, 2, 33, {"input_forget": 1, "has_peep": 1, "clip": 0.7})
    yield _case("gru_linear", "gru", 3, 5, 35, {"linear": 1, "has_dhn": 1})
    yield _case("gru_linear_both", "gru", 3, 2, 16, {**both, "linear": 1}, lens=(3, 1))
    yield _case("gru", "gru", 3, 6, 35, {"reverse": 1, "has_dhn": 1}, lens=(1, 3, 2, 0, 3, 1))
    yield _case("gru_both", "gru", 2, 1, 7, both)
    yield _case("rnn", "rnn", 4, 5, 24, {"has_dhn": 1})
    for i, act in enumerate(ACTIVATIONS):
        alpha, beta = (0.5, 0.1) if act == "affine" else DEFAULT_ALPHA_BETA.get(act, (0.0, 0.0))
        yield _case(act, "rnn", 2, 1, 18, {"act_f": i, "alpha_f": alpha, "beta_f": beta})
    for dtype, label in ((F16, "half"), (BF16, "bfloat"), (F64, "double")):
        yield _case(f"lstm_{label}", "lstm", 3, 2, 24, states, dtype=dtype)
        yield _case(f"gru_{label}", "gru", 2, 2, 24, {"linear": 1}, dtype=dtype)


_BUFFERS = """
    in pre: T
    in r: T
    in h: T
    in dy: T
    in lens: i32
    in c0: T
    in peep: T
    in dhn: T
    in dcn: T
    inout state: ACC
    out dpre: T
    out dh0: T
    inout dc0: T
    inout c: T
"""


def _params() -> str:
    names = ["kind", "linear", "T_len", "D", "B", "H", "reverse", "has_lens", "has_peep"]
    names += [*(f"has_{name}" for name in _STATES), "input_forget"]
    acts = [f"int act_{a}\nfloat alpha_{a}\nfloat beta_{a}" for a in "fgh"]
    return "\n".join([_BUFFERS, *(f"int {name}" for name in names), *acts, "float clip"])


SPEC = register(
    KernelSpec(
        name="recurrent_gradient",
        doc="what reaches the inputs of the gates of LSTM, GRU and RNN, from the last step to the first",
        params=params(_params()),
        variants=(
            Variant("cpu", "cpu", _cpu, (Tunable("ROWS", 4, (1, 2, 4), "rows of the batch that a work-item takes"),),
                    ("opencl",), "cpu/recurrent_gradient", 16, requires=runs_vectors),
            Variant("gpu", "gpu", _gpu, (Tunable("GROUP", 128, (32, 64, 128, 256), "threads that share units"),),
                    requires=runs),
        ),
        reference=_reference,
        cases=_cases,
        types={"T": dtypes.FLOATS, "ACC": (F32, F64)},
        exact=False,
        tolerance={"f32": (2e-5, 1e-5), "f16": (4e-3, 4e-3), "bf16": (3e-2, 3e-2), "f64": (1e-11, 1e-11)},
        flops=lambda s: 2.0 * _GATES[KINDS[int(s["kind"])]] * s["H"] * s["H"] * s["B"] * s["D"] * s["T_len"],
        bytes=lambda s: 4.0 * _GATES[KINDS[int(s["kind"])]] * s["H"] * (s["H"] + 4 * s["B"] * s["T_len"]) * s["D"],
    )
)  # fmt: skip
