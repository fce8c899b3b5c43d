"""The references of attention's gradient against PyTorch, and how its CPU variants cut heads into work-items."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from a1400.kernels import attention_gradient as kernel
from a1400.kernels.attention_gradient_cases import scalars
from a1400.kernels.spec import Case
from tests.kernels.test_fit import GPU

torch = pytest.importorskip("torch")

CPU = dataclasses.replace(GPU, backend="opencl", kind="cpu", compute_units=4)


def _theirs(case: Case) -> dict[str, np.ndarray]:
    """PyTorch's o and gradients of a case whose tensors are dense [B,H,S,D]."""
    s = {key: int(value) for key, value in case.scalars.items()}
    shapes = {"q": ("H", "S", "D"), "k": ("HK", "T_len", "D"), "v": ("HK", "T_len", "DV"), "g": ("H", "S", "DV")}
    given = {}
    for name, (heads, length, size) in shapes.items():
        array = np.asarray(case.arrays[name])[s[f"{name}_off"] :].astype(np.float64)
        given[name] = torch.tensor(array.reshape(s["B"], s[heads], s[length], s[size]), requires_grad=name != "g")
    y = torch.nn.functional.scaled_dot_product_attention(
        given["q"], given["k"], given["v"], scale=float(case.scalars["scale"]), enable_gqa=s["H"] != s["HK"]
    )
    y.backward(given["g"])
    return {"o": y.detach().numpy(), **{f"d{name}": given[name].grad.numpy() for name in "qkv"}}


def test_references_are_the_gradients() -> None:
    """In both ways: dq and rows, from which dk and dv; and all in one."""
    first = next(c for c in kernel.Q_SPEC.cases() if c.name == "odd")
    theirs = _theirs(first)
    o = np.concatenate([np.zeros(int(first.scalars["o_off"])), theirs["o"].reshape(-1)])
    arrays = {name: np.asarray(array).astype(np.float64) for name, array in first.arrays.items()} | {"o": o}
    got = kernel.Q_SPEC.reference(arrays, first.scalars, first)
    np.testing.assert_allclose(got["dq"], theirs["dq"], rtol=1e-4, atol=1e-6)
    second = next(c for c in kernel.KV_SPEC.cases() if c.name == "odd")
    for whole in (0, 1):
        given = {**arrays, "rows": got["rows"], "dq": np.zeros_like(got["dq"])}
        found = kernel.KV_SPEC.reference(given, {**second.scalars, "whole": whole}, second)
        for name in ("dk", "dv", *["dq"] * whole):
            np.testing.assert_allclose(found[name], theirs[name], rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("cores", [1, 2, 16, 64])
@pytest.mark.parametrize("length", [1, 49, 197, 1500])
@pytest.mark.parametrize("heads", [1, 3, 192])
def test_items_hold_their_keys(cores: int, length: int, heads: int) -> None:
    values = {**scalars(1, heads, heads, length, length, 64, 64), "whole": 0}
    most = kernel.CPU_KEYS[64]
    splits = kernel.kv_splits(values, cores, most)
    each = -(-length // splits)
    assert -(-each // 16) * 16 <= most
    assert 1 <= kernel.q_splits(values, cores) <= -(-length // kernel.CPU_QUERIES)


def test_one_launch_where_it_keeps_the_cores_busy() -> None:
    def whole(b: int, h: int, hk: int, t: int, d: int = 64, cores: int = 4) -> bool:
        info = dataclasses.replace(CPU, compute_units=cores)
        return kernel.is_whole(info, scalars(b, h, hk, 128, t, d, d))

    assert whole(8, 4, 4, 128) and whole(1, 8, 4, 256)
    assert not whole(1, 8, 2, 128), "two heads of keys for four cores"
    assert not whole(8, 4, 4, kernel.CPU_KEYS[64] + 1), "more keys than a work-item holds"
    assert not whole(8, 4, 4, 0) and not whole(8, 4, 4, 64, d=300)
    assert not kernel.is_whole(GPU, scalars(8, 4, 4, 128, 128, 64, 64))
