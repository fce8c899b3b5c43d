"""An engine's process: trains the same Keras script with each optimizer and writes the losses of all steps.

``python -m benchmarks.curve_parts.worker JOB`` (JSON): ``data`` (an .npz of pictures, classes and first weights),
``output`` (an .npz, losses by optimizer), ``steps``, ``optimizers``, ``dtype``, ``device`` (of a1400, or empty for
Keras by itself), ``nudge``, which the first weights are relatively changed by, and ``bias32``: Adam's correction of
its start at zero, which Keras computes in the variables' dtype, is computed in float32 all the same.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

BATCH = 128


def network() -> Any:
    """The tutorial's CNN."""
    from keras import Sequential, layers

    convolutions = [
        layer
        for width in (32, 64, 128)
        for layer in (layers.Conv2D(width, 3, activation="relu"), layers.MaxPooling2D(2))
    ]
    dense = [layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dense(10, activation="softmax")]
    return Sequential([layers.Input((28, 28, 1)), *convolutions, *dense])


def optimizer(name: str, bias32: bool) -> Any:
    """One with Keras's own settings."""
    import keras

    class Adam(keras.optimizers.Adam):  # type: ignore[misc]
        """With its rate corrected in float32."""

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            """As Keras's."""
            one, step = np.float32(1), np.float32(int(self.iterations) + 1)
            first, second = np.float32(self.beta_1) ** step, np.float32(self.beta_2) ** step
            rate = float(np.float32(learning_rate) * np.sqrt(one - second) / (one - first))
            index = self._get_variable_index(variable)
            m, v = self._momentums[index], self._velocities[index]
            self.assign_add(m, (gradient - m) * (1 - self.beta_1))
            self.assign_add(v, (keras.ops.square(gradient) - v) * (1 - self.beta_2))
            self.assign_sub(variable, m * rate / (keras.ops.sqrt(v) + self.epsilon))

    if name == "adam" and bias32:
        return Adam()
    if name == "momentum":
        return keras.optimizers.SGD(0.01, momentum=0.9)
    return {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}[name]()


def losses(job: dict[str, Any], name: str) -> list[float]:
    """The loss of each step, batches taken in order, over and over."""
    with np.load(job["data"]) as archive:
        x, y, weights = archive["x"], archive["y"], [archive[n] for n in archive.files if n.startswith("weight")]
    numbers = np.random.default_rng(5)
    model = network()
    model.set_weights([w * (1 + job["nudge"] * numbers.uniform(-1, 1, w.shape)) for w in weights])
    if job["device"]:
        import a1400.keras

        model = a1400.keras.accelerate(model, device=job["device"])
    model.compile(optimizer(name, job["bias32"]), "sparse_categorical_crossentropy")
    found, batches = [], len(x) // BATCH
    for step in range(job["steps"]):
        start = step % batches * BATCH
        if not job["device"]:
            model.reset_metrics()  # the loss is a running mean otherwise
        loss = model.train_on_batch(x[start : start + BATCH], y[start : start + BATCH])
        found.append(float(np.ravel(loss)[0]))
    return found


def main() -> None:
    """Do the job in the first argument."""
    job = json.loads(sys.argv[1])
    import keras

    keras.config.set_floatx(job["dtype"])
    np.savez(job["output"], **{name: np.array(losses(job, name)) for name in job["optimizers"]})


if __name__ == "__main__":
    main()
