"""One batch as the step graph wants it: arrays by name, of the network's dtypes, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from a1400.errors import InputError
from a1400.ops.registry import is_real
from a1400.train.network import InputShape

Arrays = dict[str, np.ndarray]


@dataclass
class Batch:
    """``inputs`` by input name, ``targets`` and ``weights`` (of samples, float32 [size, ...]) by output name."""

    inputs: Arrays
    targets: Arrays = field(default_factory=dict)
    weights: Arrays = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Samples in the batch."""
        return next(iter(self.inputs.values())).shape[0]

    def feeds(self) -> Arrays:
        """Everything under the names that the step graph's inputs have."""
        feeds = {f"input:{n}": a for n, a in self.inputs.items()}
        feeds.update({f"target:{n}": a for n, a in self.targets.items()})
        feeds.update({f"weight:{n}": a for n, a in self.weights.items()})
        return feeds


def to_numpy(value: Any, what: str) -> np.ndarray:
    """``value`` (NumPy, PyTorch, TensorFlow, JAX, pandas, lists ...) as an array on the host."""
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "detach"):  # PyTorch: gradients and devices keep np.asarray out
        value = value.detach().cpu()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} is not an array: {' '.join(str(error).split())}") from None
    if array.dtype == object:
        raise InputError(f"{what} is not an array: its parts differ in shape or are no numbers")
    return array


class Binder:
    """Takes x, y and sample weights in any of the forms that ``fit`` accepts and makes batches of them."""

    def __init__(
        self, inputs: Mapping[str, InputShape], outputs: Sequence[str],
        class_weight: Mapping[int, float] | None = None, every: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """``outputs`` are those that have a loss or metrics, ``every`` all; targets of the others are not looked at."""
        self.inputs, self.outputs = dict(inputs), tuple(outputs)
        self.every = tuple(every) or self.outputs
        self.class_weight = None if class_weight is None else {int(k): float(v) for k, v in class_weight.items()}
        if self.class_weight is not None and len(self.outputs) != 1:
            raise InputError("class_weight is for networks with one output; give sample_weight instead")

    # ---- structure: names ----------------------------------------------------------------------------
    def name_inputs(self, x: Any) -> Arrays:
        """``x`` as arrays by input name: a dict, a sequence in the network's order, or the only input."""
        names = list(self.inputs)
        if isinstance(x, Mapping):
            wrong = sorted({*map(str, x)} ^ {*names})
            if wrong:
                raise InputError(f"the inputs given are {', '.join(map(str, x))}; the network's are {', '.join(names)}")
            return {n: to_numpy(x[n], f"input {n!r}") for n in names}
        if len(names) == 1:
            if isinstance(x, (list, tuple)) and len(x) == 1 and np.ndim(x[0]) == len(self.inputs[names[0]][0]):
                x = x[0]
            return {names[0]: to_numpy(x, f"input {names[0]!r}")}
        if not isinstance(x, (list, tuple)) or len(x) != len(names):
            raise InputError(f"the network takes {len(names)} inputs ({', '.join(names)}): give a list or a dict")
        return {n: to_numpy(a, f"input {n!r}") for n, a in zip(names, x)}

    def name_outputs(self, y: Any, what: str) -> Arrays:
        """Targets or sample weights by output name; None gives none."""
        if y is None:
            return {}
        if not self.outputs:
            raise InputError(f"{what} is given, but there is no loss; give one when the trainer is made")
        if isinstance(y, Mapping):
            unknown = sorted(map(str, {*y} - {*self.every}))
            if unknown:
                raise InputError(f"{what}: no output is called {', '.join(unknown)}; there are {', '.join(self.every)}")
            return {n: to_numpy(y[n], f"{what} of {n!r}") for n in self.outputs if y.get(n) is not None}
        if len(self.every) > 1 and isinstance(y, (list, tuple)) and len(y) == len(self.every):
            table = {n: a for n, a in zip(self.every, y) if n in self.outputs and a is not None}
            return {n: to_numpy(a, f"{what} of {n!r}") for n, a in table.items()}
        if len(self.outputs) == 1:
            if isinstance(y, (list, tuple)) and len(y) == 1 and np.ndim(y[0]) >= 1:
                y = y[0]
            return {self.outputs[0]: to_numpy(y, what)}
        if isinstance(y, (list, tuple)) and len(y) == len(self.outputs):
            return {n: to_numpy(a, f"{what} of {n!r}") for n, a in zip(self.outputs, y) if a is not None}
        if what == "sample_weight" and np.ndim(y) == 1:
            return {n: to_numpy(y, what) for n in self.outputs}
        names = ", ".join(self.outputs)
        raise InputError(f"{what}: {len(self.outputs)} outputs have a loss ({names}): give a list or a dict")

    # ---- arrays --------------------------------------------------------------------------------------
    def check(self, inputs: Arrays, targets: Arrays, weights: Arrays) -> int:
        """Shapes against the network's and each other; returns the number of samples."""
        count = -1
        for name, array in inputs.items():
            shape, _ = self.inputs[name]
            fits = array.ndim == len(shape) and all(d is None or d == n for d, n in zip(shape, array.shape))
            if not fits or not array.ndim:
                wanted = ", ".join("?" if d is None else str(d) for d in shape)
                raise InputError(f"input {name!r} has shape {list(array.shape)}, the network takes [{wanted}]")
            if count not in (-1, array.shape[0]):
                raise InputError(f"input {name!r} has {array.shape[0]} samples, the others have {count}")
            count = array.shape[0]
        for what, table in (("the targets", targets), ("sample_weight", weights)):
            for name, array in table.items():
                if not array.ndim or array.shape[0] != count:
                    raise InputError(f"{what} of {name!r} have shape {list(array.shape)} for {count} samples")
        return count

    def convert(self, inputs: Arrays, targets: Arrays, weights: Arrays) -> Batch:
        """Arrays of one batch in the dtypes of the step graph, dense."""
        made = Batch(
            {n: _as_input(n, a, self.inputs[n][1]) for n, a in inputs.items()},
            {n: _as_target(n, a) for n, a in targets.items()},
            {n: np.ascontiguousarray(a, np.float32).reshape(_plain(a.shape)) for n, a in weights.items()},
        )
        if self.class_weight is not None and made.targets:
            (name,) = self.outputs
            factors = self._by_class(name, made.targets[name])
            given = made.weights.get(name)
            if given is not None:
                factors = factors.reshape((-1, *(1 for _ in given.shape[1:]))) * given
            made.weights[name] = factors
        return made

    def bind(self, x: Any, y: Any = None, sample_weight: Any = None) -> Batch:
        """A batch as a user gives it, named, checked and converted."""
        inputs, targets = self.name_inputs(x), self.name_outputs(y, "y")
        weights = self.name_outputs(sample_weight, "sample_weight")
        self.check(inputs, targets, weights)
        return self.convert(inputs, targets, weights)

    def _by_class(self, name: str, target: np.ndarray) -> np.ndarray:
        """The weight of each sample's class: integer targets, or the largest of one-hot ones."""
        assert self.class_weight is not None
        if target.ndim > 1 and target.shape[-1] > 1:
            target = target.argmax(axis=-1)
        flat = target.reshape(target.shape[0], -1)
        if flat.shape[1] != 1:
            raise InputError(f"class_weight needs one class a sample; the targets of {name!r} have more")
        classes, where = np.unique(flat[:, 0], return_inverse=True)
        table = np.array([self.class_weight.get(int(c), 1.0) for c in classes], np.float32)
        return table[where.reshape(-1)]


def _plain(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Weights of samples that come as a column are a vector; those of steps in time keep their axes."""
    return shape[:1] if all(n == 1 for n in shape[1:]) else shape


def _as_input(name: str, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if array.dtype == dtype:
        return np.ascontiguousarray(array)
    made = array.astype(dtype)
    if not is_real(dtype) and is_real(array.dtype) and not np.array_equal(made, array):
        raise InputError(f"input {name!r} holds fractions, the network takes {dtype}")
    return made


def _as_target(name: str, array: np.ndarray) -> np.ndarray:
    """Floats as float32, integers and truth values as int32."""
    if array.dtype.kind in "iub":
        if array.dtype.itemsize > 2 and array.size and not -(2**31) <= array.min() <= array.max() < 2**31:
            raise InputError(f"the targets of {name!r} hold integers beyond 32 bits")
        return np.ascontiguousarray(array, np.int32)
    if not is_real(array.dtype):
        raise InputError(f"the targets of {name!r} are {array.dtype}, not numbers")
    return np.ascontiguousarray(array, np.float32)
