"""What a Keras optimizer remembers (momenta, averages, its count of steps): read from its variables, written back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from a1400.errors import InputError
from a1400.train.optimizer import AVERAGE, GATHERED

if TYPE_CHECKING:
    from a1400.keras.network import KerasNetwork

Slots = dict[str, dict[str, np.ndarray]]

_MOMENTS = {"momentum": "_momentums", "velocity": "_velocities"}
#: where Keras's optimizers keep the variables of each slot: lists in the order of the variables they were built for
_KEPT: dict[str, dict[str, str]] = {
    "SGD": {"momentum": "momentums"},
    "Adam": {**_MOMENTS, "velocity_hat": "_velocity_hats"},
    "AdamW": {**_MOMENTS, "velocity_hat": "_velocity_hats"},
    "Nadam": _MOMENTS,
    "Lamb": _MOMENTS,
    "ScheduleFreeAdamW": _MOMENTS,
    "Adamax": {"momentum": "_m", "norm": "_u"},
    "RMSprop": {**_MOMENTS, "average_gradient": "_average_gradients"},
    "Adagrad": {"accumulator": "_accumulators"},
    "Adadelta": {"accumulated_gradient": "_accumulated_grads", "accumulated_step": "_accumulated_delta_vars"},
    "Adafactor": {"row": "_r", "column": "_c", "velocity": "_v"},
    "Ftrl": {"accumulator": "_accumulators", "linear": "_linears"},
    "Lion": {"momentum": "_momentums"},
    "Muon": {"momentum": "momentums", "velocity": "adam_velocities"},
}
_COMMON = {AVERAGE: "_model_variables_moving_average", GATHERED: "_accumulated_gradients"}


def inner(optimizer: Any) -> Any:
    """The optimizer that makes the steps: what a ``LossScaleOptimizer`` is wrapped around, else the same."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def members(optimizer: Any) -> list[Any]:
    """The optimizers that an optimizer of Keras's is made of: itself, or those of a ``MultiOptimizer``."""
    return list(getattr(inner(optimizer), "optimizers", (inner(optimizer),)))


class KerasSlots:
    """The variables of ``optimizer`` that belong to the parameters of ``network``.

    A parameter that the optimizer was not built for (its layer thawed since) has no variables there.
    """

    def __init__(self, optimizer: Any, network: KerasNetwork) -> None:
        self._whole, self._optimizer, self._network = optimizer, inner(optimizer), network

    @property
    def built(self) -> bool:
        """Whether there are variables yet."""
        return bool(self._optimizer.built)

    def build(self) -> None:
        """Make the variables."""
        if not self._whole.built:
            self._whole.build(self._network.model.trainable_variables)

    # ---- the count of steps --------------------------------------------------------------------------
    @property
    def count(self) -> int:
        """Batches that the optimizer has seen."""
        return int(np.asarray(keras.ops.convert_to_numpy(self._optimizer._iterations)))

    @count.setter
    def count(self, value: int) -> None:
        for optimizer in {id(o): o for o in (self._optimizer, *members(self._optimizer))}.values():
            optimizer._iterations.assign(value)

    # ---- slots ---------------------------------------------------------------------------------------
    def read(self, slots: Mapping[str, Mapping[str, Any]]) -> Slots:
        """The values of ``slots`` (parameters by slot), as they lie on the device."""
        found: Slots = {slot: {} for slot in slots}
        for slot, name, variable in self._variables(slots):
            value = np.array(keras.ops.convert_to_numpy(variable), np.float32)
            alike = variable.shape == self._network.parameters.variables[name].shape
            found[slot][name] = self._network.parameters.device_order(name, value) if alike else value
        return found

    def write(self, slots: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Put values, as they lie on the device, into the variables."""
        for slot, name, variable in self._variables(slots):
            value, shape = slots[slot][name], tuple(variable.shape)
            if shape == tuple(self._network.parameters.variables[name].shape):
                value = self._network.parameters.keras_order(name, value)
            variable.assign(np.ascontiguousarray(value).reshape(shape))

    def _variables(self, slots: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, Any]]:
        for slot, parameters in slots.items():
            if not parameters:
                continue
            number, _, own = slot.rpartition(" ")
            optimizer = members(self._optimizer)[int(number or 0)]
            kind, places = type(optimizer).__name__, optimizer._trainable_variables_indices
            table = getattr(optimizer, {**_KEPT.get(kind, {}), **_COMMON}.get(own, ""), None)
            if table is None:
                raise InputError(
                    f"the optimizer {kind} of Keras {keras.__version__} keeps its {own} where it is not found; use a "
                    "version of Keras that a1400 was tested with"
                )
            for name in parameters:
                variable = self._network.parameters.variables[name]
                place = places.get(optimizer._var_key(variable))
                if place is not None and table[place] is not None:
                    yield slot, name, table[place]

    def without_decay(self) -> list[str]:
        """Parameters that the optimizer was told to leave out of weight decay."""
        found, optimizers = [], members(self._optimizer)
        for name, variable in self._network.parameters.variables.items():
            number = self.member(variable) if len(optimizers) > 1 else 0
            if not optimizers[number]._use_weight_decay(variable):
                found.append(name)
        return found

    def member(self, variable: Any) -> int:
        """Which of a ``MultiOptimizer``'s optimizers a variable is for; it is built."""
        number = self._optimizer._var_to_optimizer_idx.get(self._optimizer._var_key(variable))
        if number is None:
            raise InputError(f"the MultiOptimizer was not built for {variable.path!r}; compile the model again")
        return int(number)

    # ---- what is no slot -----------------------------------------------------------------------------
    def write_product(self, product: float) -> None:
        """Nadam's product of its momenta so far."""
        for optimizer in members(self._optimizer):
            if type(optimizer).__name__ == "Nadam" and optimizer.built:
                optimizer._u_product.assign(product)

    def read_scale(self) -> np.ndarray | None:
        """A ``LossScaleOptimizer``'s scale and steps since it changed, float32 [2]; None for other optimizers."""
        if self._whole is self._optimizer or not self._whole.built:
            return None
        both = (self._whole.dynamic_scale, self._whole.step_counter)
        return np.array([float(np.asarray(keras.ops.convert_to_numpy(v))) for v in both], np.float32)

    def write_scale(self, state: np.ndarray) -> None:
        """The other way round."""
        if self._whole is not self._optimizer:
            self._whole.dynamic_scale.assign(float(state[0]))
            self._whole.step_counter.assign(int(state[1]))
