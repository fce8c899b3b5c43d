"""NumPy meaning of a recurrent layer's walk backwards: the op's reference and the kernel's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from a1400.kernels.recurrent_reference import _FUNCTIONS, ACTIVATIONS


def slope(name: str, alpha: float, beta: float, x: np.ndarray) -> np.ndarray:
    """Derivative of an activation at ``x``."""
    table: dict[str, Callable[[], Any]] = {
        "sigmoid": lambda: np.exp(-np.logaddexp(x, 0) - np.logaddexp(-x, 0)),
        "tanh": lambda: 1 - np.tanh(x) ** 2,
        "relu": lambda: x > 0,
        "affine": lambda: alpha,
        "leakyrelu": lambda: np.where(x < 0, alpha, 1),
        "thresholdedrelu": lambda: x > alpha,
        "scaledtanh": lambda: alpha * beta * (1 - np.tanh(beta * x) ** 2),
        "hardsigmoid": lambda: np.where((alpha * x + beta > 0) & (alpha * x + beta < 1), alpha, 0),
        "elu": lambda: np.where(x < 0, alpha * np.exp(np.minimum(x, 0)), 1),
        "softsign": lambda: 1 / (1 + np.abs(x)) ** 2,
        "softplus": lambda: 1 / (1 + np.exp(-x)),
    }
    return table[name.lower()]() * np.ones_like(x)


F64 = np.dtype(np.float64)


@dataclass(frozen=True)
class Walk:
    """One direction: ``acts`` are (name, alpha, beta) of f, g, h; ``clip`` 0 for none; ``back``: from the last time on.

    ``linear``: a gru whose reset gate comes behind the product; ``coupled``: an lstm whose forget gate is 1 - i.  What
    gates send back and cell states are kept in ``dtype``.
    """

    kind: str
    acts: Sequence[tuple[str, float, float]]
    clip: float = 0.0
    linear: bool = False
    coupled: bool = False
    back: bool = False
    dtype: np.dtype = F64

    def run(
        self, pre: np.ndarray, r: np.ndarray, h: np.ndarray, dy: np.ndarray, counts: np.ndarray, c0: np.ndarray,
        peepholes: np.ndarray, dh: np.ndarray, dc: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
        """(dpre [T,B,P], dh0 [B,H], dc0 [B,H], c [T,B,H]) of pre [T,B,P], r [G*H,H], h and dy [T,B,H], states [B,H].

        ``counts`` are the rows' numbers of steps, ``peepholes`` [3,H], ``dh`` and ``dc`` what reaches the last states.
        """
        hidden = h.shape[2]
        weights, dpre, cells = r.reshape(-1, hidden, hidden), np.zeros_like(pre), np.zeros_like(h)
        dh, dc = dh.copy(), dc.copy()
        for n in range(h.shape[1]):
            order = list(range(counts[n]))[:: -1 if self.back else 1]
            c = c0[n]
            for t in order if self.kind == "lstm" else ():
                c = cells[t, n] = self._kept(self._cell(pre[t, n].reshape(4, -1), c, peepholes))
            for i in reversed(range(len(order))):
                t, before = order[i], cells[order[i - 1], n] if i else c0[n]
                gates = pre[t, n].reshape(-1, hidden)
                coming = dh[n] + dy[t, n]
                if self.kind == "lstm":
                    dpre[t, n], dh[n], dc[n] = self._lstm(gates, before, coming, dc[n], weights, peepholes)
                elif self.kind == "gru":
                    dpre[t, n], dh[n] = self._gru(gates, h[t, n], coming, weights)
                else:
                    dpre[t, n] = self._kept(coming * self._act(0, gates[0])[1])
                    dh[n] = dpre[t, n] @ weights[0]
        return dpre, dh, dc, cells

    def _kept(self, x: np.ndarray) -> np.ndarray:
        return x.astype(self.dtype).astype(np.float64)

    def _act(self, i: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Activation ``i`` and its derivative, clipped before."""
        name, alpha, beta = self.acts[i]
        limit = self.clip or np.inf
        inside = np.clip(x, -limit, limit)
        with np.errstate(all="ignore"):
            value = _FUNCTIONS[ACTIVATIONS.index(name.lower())](inside, alpha, beta)
        return value, slope(name, alpha, beta, inside) * (np.abs(x) <= limit)

    def _cell(self, pre: np.ndarray, c: np.ndarray, p: np.ndarray) -> np.ndarray:
        i, f = self._act(0, pre[0] + p[0] * c)[0], self._act(0, pre[2] + p[2] * c)[0]
        return (1 - i if self.coupled else f) * c + i * self._act(1, pre[3])[0]

    def _lstm(
        self, pre: np.ndarray, c: np.ndarray, dh: np.ndarray, dc: np.ndarray, r: np.ndarray, p: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(what reaches pre, the hidden state, the cell state) from the cell state before the step."""
        (i, si), (f, sf) = (self._act(0, pre[gate] + p[gate] * c) for gate in (0, 2))
        g, sg = self._act(1, pre[3])
        if self.coupled:
            f = 1 - i
        after = self._kept(f * c + i * g)
        unclipped = Walk(self.kind, self.acts)  # as the cell state goes
        (o, so), (a, sa) = self._act(0, pre[1] + p[1] * after), unclipped._act(2, after)
        do = dh * a * so
        dc = dc + dh * o * sa + do * p[1]
        di, df, dg = dc * (g - c if self.coupled else g) * si, dc * c * sf * (not self.coupled), dc * i * sg
        gates = self._kept(np.stack([di, do, df, dg]))
        return gates.reshape(-1), np.einsum("gk,gkj->j", gates, r), dc * f + di * p[0] + df * p[2]

    def _gru(self, pre: np.ndarray, h: np.ndarray, dh: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(what reaches pre, the hidden state) from the hidden state before the step."""
        (z, sz), (q, sq) = self._act(0, pre[0]), self._act(0, pre[1])
        g, sg = self._act(1, pre[2] + q * pre[3] if self.linear else pre[2])
        dz, dg = dh * (h - g) * sz, dh * (1 - z) * sg
        if self.linear:
            gates = self._kept(np.stack([dz, dg * pre[3] * sq, dg, dg * q]))
            return gates.reshape(-1), dh * z + np.einsum("gk,gkj->j", gates[[0, 1, 3]], r)
        reset = self._kept(dg) @ r[2]
        gates = self._kept(np.stack([dz, reset * h * sq, dg]))
        return gates.reshape(-1), dh * z + reset * q + np.einsum("gk,gkj->j", gates[:2], r[:2])
