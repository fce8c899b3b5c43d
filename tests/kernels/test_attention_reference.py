"""The attention kernel's reference against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from a1400.kernels import attention
from a1400.kernels.spec import Case, Data

torch = pytest.importorskip("torch")


def _inputs(case: Case) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    made = {k: d.make(rng, case.types, False) for k, d in case.arrays.items() if isinstance(d, Data)}
    return {k: a.astype(np.float64) for k, a in made.items()}


KINDS = [("even", None, False), ("causal", None, True), ("decode", None, False), ("full_mask", "full", False)]


@pytest.mark.parametrize(("name", "mask", "causal"), KINDS)
def test_reference_is_scaled_dot_product_attention(name: str, mask: str | None, causal: bool) -> None:
    case = next(c for c in attention.cases() if c.name == name)
    s = {k: int(v) for k, v in case.scalars.items()}
    arrays = _inputs(case)
    got = attention.reference(arrays, case.scalars, case)["o"]
    views = []
    sizes = {"q": ("H", "S", "D"), "k": ("HK", "T_len", "D"), "v": ("HK", "T_len", "DV")}
    for key, names in sizes.items():
        heads, length, size = (s[n] for n in names)
        flat = torch.from_numpy(arrays[key][s[f"{key}_off"] :])
        shape = (s["B"], length, heads, size) if name == "even" else (s["B"], heads, length, size)
        view = flat.reshape(shape)
        views.append(view.transpose(1, 2) if name == "even" else view)
    bias = torch.from_numpy(case.slots["SCORE"][1][0][0].astype(np.float64)) if mask else None
    wanted = torch.nn.functional.scaled_dot_product_attention(
        *views, attn_mask=bias, is_causal=causal, scale=float(case.scalars["scale"]), enable_gqa=s["H"] != s["HK"]
    )
    wanted = wanted.transpose(1, 2) if name == "even" else wanted
    np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-5, atol=1e-6)


def test_rows_without_keys_are_zero() -> None:
    case = next(c for c in attention.cases() if c.name == "keys_mask")
    arrays = _inputs(case)
    got = attention.reference(arrays, case.scalars, case)["o"]
    assert np.isfinite(got).all()
    assert not got[-1].any()
