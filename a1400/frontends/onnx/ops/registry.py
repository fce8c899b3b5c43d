"""The table of translators: (domain, op) to functions, each valid from an opset version on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from a1400.frontends.onnx.context import Ctx

#: takes the node, adds primitive ops, returns the output or a tuple of outputs;
#: NotImplemented leaves this use of the op to the body that ONNX's schema gives it
Translator = Callable[["Ctx"], Any]



@dataclass(frozen=True)
class Runs:
    """Where an operator's work on what a run's inputs hold is done, and ``why`` where it is not the device's alone.

    ``place`` is "device" (all arithmetic), "view" (it moves or hands on, and computes nothing), "shapes" (it knows
    shapes alone, so the answer is there before the run), "host", or "device and host" (one or both, as ``why`` says).
    Whatever the operator, constants of constants are folded once, when a model is loaded.
    """

    place: str
    why: str = ""


ON_DEVICE = Runs("device")
AS_VIEW = Runs("view", "it moves or hands on what it gets")
FROM_SHAPES = Runs("shapes", "its answer follows from shapes, or from how many items there are")
STRINGS = Runs("host", "it works on strings")
DICTS = Runs("host", "it works on dicts")
MAYBE_STRINGS = Runs("device and host", "strings are the host's, numbers the device's")
ITEMS = Runs("device and host", "which items there are is the host's, what is in them the device's")
CONTROL = Runs("device and host", "which nodes run, and how often, is the host's; the nodes are the device's")

_TABLE: dict[tuple[str, str], list[tuple[int, Translator]]] = {}
_RUNS: dict[tuple[str, str], Runs] = {}


def translates(
    *ops: str, since: int = 1, domain: str = "", runs: Runs | None = None
) -> Callable[[Translator], Translator]:
    """Register a translator for ``ops`` of ``domain`` from opset ``since`` until the next one registered.

    ``runs`` says where their work is done, in every version of theirs (default: :data:`ON_DEVICE`).
    """

    def register(function: Translator) -> Translator:
        for op in ops:
            if runs is not None and _RUNS.setdefault((domain, op), runs) != runs:
                raise ValueError(f"two versions of {domain}::{op} say differently where they run")
            versions = _TABLE.setdefault((domain, op), [])
            if any(v == since for v, _ in versions):
                raise ValueError(f"{domain}::{op} since {since} is registered twice")
            versions.append((since, function))
            versions.sort(key=lambda entry: entry[0])
        return function

    return register


def find(domain: str, op: str, version: int) -> Translator | None:
    """The translator of ``op`` at opset ``version``, or None."""
    found = None
    for since, function in _TABLE.get((domain, op), ()):
        if since <= version:
            found = function
    return found


def runs(domain: str, op: str) -> Runs:
    """Where the work of ``op`` is done; operators that run as the bodies ONNX gives them are the device's."""
    return _RUNS.get((domain, op), ON_DEVICE)


def supported() -> list[tuple[str, str, int]]:
    """Every (domain, op, since) with a translator, sorted."""
    return sorted((domain, op, since) for (domain, op), versions in _TABLE.items() for since, _ in versions)
