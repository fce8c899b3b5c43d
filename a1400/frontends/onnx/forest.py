"""Decision trees as flat tables: every comparison becomes ``x <= split``, every leaf leads to itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from a1400.errors import GraphError

#: names of comparisons in the older operators, numbers in TreeEnsemble
MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER")
_LEQ, _LT, _GTE, _GT, _EQ, _NEQ, _MEMBER = range(7)
_SWAPPED = {_GTE: _LT, _GT: _LEQ, _NEQ: _EQ}


@dataclass
class Forest:
    """Nodes of all trees.

    Of node i: ``feature``, ``split``, where to go if the feature is at most that (``yes``), else (``no``), and whether
    a NaN goes to ``yes`` (``nan``).  A leaf leads to itself.
    """

    feature: list[int] = field(default_factory=list)
    split: list[float] = field(default_factory=list)
    yes: list[int] = field(default_factory=list)
    no: list[int] = field(default_factory=list)
    nan: list[bool] = field(default_factory=list)

    def leaf(self) -> int:
        """A new leaf."""
        return self._add(0, 0.0, len(self.yes), len(self.yes), False)

    def node(self, mode: int, feature: int, split: float, yes: int, no: int, nan: bool, dtype: np.dtype) -> int:
        """A new inner node for a comparison ``mode`` with ``split``; ``nan`` sends NaN to ``yes``."""
        if mode in _SWAPPED:
            # NaN differs from everything and is above nothing: what the plain comparison gives it, but for `nan`
            return self.node(_SWAPPED[mode], feature, split, no, yes, not (nan or mode == _NEQ), dtype)
        if mode == _EQ:
            yes = self._add(feature, split, yes, no, nan)
            return self._add(feature, _below(split, dtype), no, yes, not nan)
        return self._add(feature, split if mode == _LEQ else _below(split, dtype), yes, no, nan)

    def member(self, feature: int, values: Sequence[float], yes: int, no: int, nan: bool, dtype: np.dtype) -> int:
        """A new node that asks whether a feature is one of ``values``: a chain of comparisons for equality."""
        for number, value in enumerate(reversed(values)):
            no = self.node(_EQ, feature, value, yes, no, nan and number == len(values) - 1, dtype)
        return no

    def depth(self, roots: Sequence[int]) -> int:
        """Comparisons on the longest way to a leaf; raises :class:`GraphError` for a cycle."""
        known: dict[int, int] = {}
        for root in roots:
            stack = [(root, False)]
            open_: set[int] = set()
            while stack:
                i, done = stack.pop()
                if i in known:
                    continue
                if self.yes[i] == i:
                    known[i] = 0
                elif done:
                    known[i] = 1 + max(known[self.yes[i]], known[self.no[i]])
                    open_.discard(i)
                elif i in open_:
                    raise GraphError("a decision tree comes back to a node of its own")
                else:
                    open_.add(i)
                    stack += [(i, True), (self.yes[i], False), (self.no[i], False)]
        return max((known[root] for root in roots), default=0)

    def _add(self, feature: int, split: float, yes: int, no: int, nan: bool) -> int:
        self.feature.append(feature)
        self.split.append(split)
        self.yes.append(yes)
        self.no.append(no)
        self.nan.append(nan)
        return len(self.yes) - 1


def _below(value: float, dtype: np.dtype) -> float:
    """The next smaller number; denormal ones are skipped, as devices may take them for 0.  NaN below -inf."""
    if value == -np.inf:
        return np.nan
    tiny = np.finfo(dtype).tiny
    if abs(value) < tiny or value == tiny:
        return float(-tiny) if value <= 0 else 0.0
    return float(np.nextafter(dtype.type(value), dtype.type(-np.inf)))
