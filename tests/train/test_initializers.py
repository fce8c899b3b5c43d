"""First values: the moments that their definitions promise, and Keras's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from a1400.errors import InputError
from a1400.train import initializers
from tests.train.reference import array, keras

NAMES = (
    "GlorotUniform", "GlorotNormal", "HeUniform", "HeNormal", "LecunUniform", "LecunNormal", "RandomNormal",
    "RandomUniform", "TruncatedNormal",
)  # fmt: skip


@pytest.mark.parametrize("shape", [(300, 200), (3, 3, 64, 96)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_distribution_is_that_of_keras(name: str, shape: tuple[int, ...]) -> None:
    ours = initializers.from_name(name, seed=5)(shape)
    theirs = array(getattr(keras.initializers, name)(seed=5)(shape))
    assert ours.shape == shape and ours.dtype == np.float32
    scale = theirs.std()
    assert abs(ours.std() - scale) < 0.02 * scale and abs(ours.mean() - theirs.mean()) < 0.03 * scale
    assert abs(np.abs(ours).max() - np.abs(theirs).max()) < (0.7 if name == "RandomNormal" else 0.02) * scale
    np.testing.assert_array_equal(ours, initializers.from_name(name, seed=5)(shape))
    assert not np.array_equal(ours, initializers.from_name(name, seed=5)(shape, stream=1))


def test_fixed_values() -> None:
    assert (initializers.Zeros()((2, 3)) == 0).all() and (initializers.Ones()((2,)) == 1).all()
    assert (initializers.from_name("constant", value=2.5)((2,)) == 2.5).all()
    np.testing.assert_array_equal(initializers.Identity(2.0)((2, 3)), 2 * np.eye(2, 3))


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (3, 3, 4, 16)], ids=str)
def test_orthogonal(shape: tuple[int, ...]) -> None:
    q = initializers.Orthogonal(2.0, seed=1)(shape, np.float64).reshape(-1, shape[-1])
    product = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [lambda: initializers.from_name("glorot"), lambda: initializers.VarianceScaling(mode="fan"),
     lambda: initializers.Orthogonal()((3,)), lambda: initializers.Identity()((3,))],
)  # fmt: skip
def test_errors(wrong: Any) -> None:
    with pytest.raises(InputError):
        wrong()
