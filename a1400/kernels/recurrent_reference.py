"""NumPy meaning of the recurrent kernels, their activations, and the packing of recurrent weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from a1400.kernels.spec import Case, Scalars
from a1400.kernels.strided import strided

UNITS = 16  # hidden units per block of packed weights

ACTIVATIONS = (
    "sigmoid", "tanh", "relu", "affine", "leakyrelu", "thresholdedrelu", "scaledtanh", "hardsigmoid", "elu",
    "softsign", "softplus",
)  # fmt: skip
"""ONNX activation names in lower case; the index is what the kernels take."""

DEFAULT_ALPHA_BETA = {
    "leakyrelu": (0.01, 0.0), "thresholdedrelu": (1.0, 0.0), "hardsigmoid": (0.2, 0.5), "elu": (1.0, 0.0),
    "affine": (1.0, 0.0), "scaledtanh": (1.0, 1.0),
}  # fmt: skip
"""Where a model gives no alpha and beta (ONNX defaults; identity where ONNX has none)."""

_FUNCTIONS: tuple[Callable[[np.ndarray, float, float], np.ndarray], ...] = (
    lambda x, a, b: 1 / (1 + np.exp(-x)),
    lambda x, a, b: np.tanh(x),
    lambda x, a, b: np.maximum(x, 0),
    lambda x, a, b: a * x + b,
    lambda x, a, b: np.where(x < 0, a * x, x),
    lambda x, a, b: np.where(x > a, x, 0),
    lambda x, a, b: a * np.tanh(b * x),
    lambda x, a, b: np.clip(a * x + b, 0, 1),
    lambda x, a, b: np.where(x < 0, a * (np.exp(x) - 1), x),
    lambda x, a, b: x / (1 + np.abs(x)),
    lambda x, a, b: np.logaddexp(x, 0),
)


def pack(weights: np.ndarray, gates: int) -> np.ndarray:
    """ONNX recurrent weights [gates*H, H] to [ceil(H/16), H, gates, 16]: for a block of units, all gates of one input.

    Units beyond H are zero.
    """
    hidden = weights.shape[-1]
    blocks = -(-hidden // UNITS)
    padded = np.zeros((gates, blocks * UNITS, hidden), weights.dtype)
    padded[:, :hidden] = weights.reshape(gates, hidden, hidden)
    return np.ascontiguousarray(padded.reshape(gates, blocks, UNITS, hidden).transpose(1, 3, 0, 2))


def unpack(packed: np.ndarray, gates: int, hidden: int) -> np.ndarray:
    """The inverse of :func:`pack`, as [gates, H, H]."""
    blocks = packed.size // (hidden * gates * UNITS)
    w = packed.reshape(blocks, hidden, gates, UNITS).transpose(2, 0, 3, 1)
    return w.reshape(gates, blocks * UNITS, hidden)[:, :hidden]


def activate(s: Scalars, which: str, x: np.ndarray, *, clip: bool = True) -> np.ndarray:
    """Activation ``which`` (``f``, ``g``, ``h``) of a launch with scalars ``s``, clipped before where it clips."""
    if clip and s["clip"] > 0:
        x = np.clip(x, -s["clip"], s["clip"])
    with np.errstate(all="ignore"):
        return _FUNCTIONS[int(s[f"act_{which}"])](x, s[f"alpha_{which}"], s[f"beta_{which}"])


class Steps:
    """Walks the steps ``step_begin .. step_end`` of a recurrent launch; subclasses hold the cell."""

    gates = 1

    def __init__(self, arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> None:
        n = {k: int(v) for k, v in s.items()}
        self.s, self.n, self.arrays, self.dtype = s, n, arrays, case.types["T"]
        self.hidden, self.batch, self.length = n["H"], n["B"], n["T_len"]
        self.outputs = {name: np.array(arrays[name]) for name in ("state", "sync", "y", "hn", "cn") if name in arrays}
        self.lens = np.minimum(arrays["lens"], self.length) if n["has_lens"] else np.full(self.batch, self.length)
        self.go(0)

    def go(self, d: int) -> None:
        """Turn to direction ``d``."""
        n, hidden, batch, length = self.n, self.hidden, self.batch, self.length
        self.d, self.reverse = d, n["reverse"] >> d & 1
        self.r = unpack(np.reshape(self.arrays["r"], (n["D"], -1))[d], self.gates, hidden)
        shape = (length, batch, self.gates, hidden)
        xw_at, y_at = n["xw_off"] + d * n["xw_d"], n["y_off"] + d * n["y_d"]
        self.xw = strided(self.arrays["xw"], xw_at, shape, (n["xw_t"], n["xw_b"], hidden, 1))
        self.y = strided(self.outputs["y"], y_at, (length, batch, hidden), (n["y_t"], n["y_b"], 1))
        if "state" in self.outputs:
            self.state = self.outputs["state"].reshape(n["D"], batch, -1, hidden)[d]

    def rows(self, name: str) -> np.ndarray:
        """[B, H] view of ``h0``, ``c0``, ``hn`` or ``cn``."""
        source = self.outputs[name] if name in self.outputs else self.arrays[name]
        start = self.n[f"{name}_off"] + self.d * self.n[f"{name}_d"]
        return strided(source, start, (self.batch, self.hidden), (self.n[f"{name}_b"], 1))

    def first(self, name: str, row: int) -> np.ndarray:
        """Initial state of a row: zeros where the launch has none."""
        return self.rows(name)[row] if self.n[f"has_{name}"] else np.zeros(self.hidden)

    def cell(self, row: int, xw: np.ndarray, h: np.ndarray, first: bool) -> np.ndarray | None:
        """The new hidden state from gate inputs [G, H] and the state; None where this launch does not make it."""
        raise NotImplementedError

    def last(self, row: int) -> None:
        """Called after a row's last step (or at once for an empty row)."""

    def run(self) -> dict[str, np.ndarray]:
        """All outputs after the launch."""
        for d in range(self.n["D"]):
            self.go(d)
            self.walk()
        return self.outputs

    def walk(self) -> None:
        """The launch's steps of one direction."""
        for step in range(self.n["step_begin"], self.n["step_end"]):
            for row in range(self.batch):
                length = int(self.lens[row])
                if step >= length:
                    if step == 0:
                        self.rows("hn")[row] = self.first("h0", row)
                        self.empty(row)
                    self.y[step, row] = 0
                    continue
                time = length - 1 - step if self.reverse else step
                before = time + 1 if self.reverse else time - 1
                h = self.first("h0", row) if step == 0 else self.y[before, row]
                made = self.cell(row, self.xw[time, row], h, step == 0)
                if made is None:
                    continue
                h = made.astype(self.dtype).astype(np.float64)  # kept in T between steps
                self.y[time, row] = h
                if step == length - 1:
                    self.rows("hn")[row] = h
                    self.last(row)

    def empty(self, row: int) -> None:
        """Called for a row of length 0."""


class Lstm(Steps):
    """ONNX LSTM: gates i, o, f, c."""

    gates = 4

    def cell(self, row: int, xw: np.ndarray, h: np.ndarray, first: bool) -> np.ndarray:
        s = self.s
        c = self.first("c0", row) if first else self.state[row, 0]
        peep = np.zeros((3, self.hidden))
        if self.n["has_peep"]:
            peep = self.arrays["peep"].reshape(-1, 3, self.hidden)[self.d]
        i, o, f, g = xw + self.r @ h
        i = activate(s, "f", i + peep[0] * c)
        f = 1 - i if self.n["input_forget"] else activate(s, "f", f + peep[2] * c)
        c = f * c + i * activate(s, "g", g)
        o = activate(s, "f", o + peep[1] * c)
        self.state[row] = c
        return o * activate(s, "h", c, clip=False)

    def last(self, row: int) -> None:
        self.rows("cn")[row] = self.state[row, 0]

    def empty(self, row: int) -> None:
        self.state[row] = self.first("c0", row)
        self.rows("cn")[row] = self.first("c0", row)


class Gru(Steps):
    """ONNX GRU: gates z, r, h."""

    gates = 3

    def cell(self, row: int, xw: np.ndarray, h: np.ndarray, first: bool) -> np.ndarray | None:
        s, phase = self.s, self.n["phase"]
        z = activate(s, "f", xw[0] + self.r[0] @ h)
        r = activate(s, "f", xw[1] + self.r[1] @ h)
        if self.n["linear_before_reset"]:
            bias = self.arrays["rbh"].reshape(-1)[self.d * self.hidden :][: self.hidden]
            new = activate(s, "g", xw[2] + r * (self.r[2] @ h + bias))
            return (1 - z) * new + z * h
        if phase != 1:
            self.state[row] = (z, r * h)
        if phase == 0:
            return None
        z, back = self.state[row]
        return (1 - z) * activate(s, "g", xw[2] + self.r[2] @ back) + z * h


class Rnn(Steps):
    """ONNX RNN: one gate."""

    gates = 1

    def cell(self, row: int, xw: np.ndarray, h: np.ndarray, first: bool) -> np.ndarray:
        return activate(self.s, "f", xw[0] + self.r[0] @ h)
