"""Figures of error, repeated runs, and bits compared between devices."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from a1400 import dtypes
from a1400.kernels.accuracy import figures
from a1400.verify.campaign import Campaign, Options, compare_digests, digest_key
from a1400.verify.find import Found
from a1400.verify.results import PASS, Result
from tests.cli.fakes import DEVICE

FORMATS = [(np.float32, 23), (np.float16, 10), (dtypes.bfloat16, 7), (np.float64, 52)]


@pytest.mark.parametrize(("dtype", "bits"), FORMATS)
def test_one_unit_in_the_last_place(dtype: type, bits: int) -> None:
    expected = np.array([1.0, 1.5, -0.75])
    got = expected.astype(dtype)
    assert figures(got, expected) == (0.0, 0.0)
    got[1] = dtype(1.5 + 2.0**-bits) if dtype is not dtypes.bfloat16 else np.asarray(1.5 + 2.0**-bits).astype(dtype)
    error, ulps = figures(got, expected)
    assert ulps == 1.0 and error == pytest.approx(2.0**-bits / 1.5)


def test_figures_at_the_edges() -> None:
    f32 = np.float32
    assert figures(np.array([np.inf, np.nan], f32), np.array([np.inf, np.nan])) == (0.0, 0.0)
    assert figures(np.array([np.inf], f32), np.array([1.0])) == (math.inf, math.inf)
    assert figures(np.array([np.nan, 1], f32), np.array([2.0, 1.0])) == (math.inf, math.inf)
    assert figures(np.zeros((0, 3), f32), np.zeros((0, 3))) == (0.0, 0.0)
    assert figures(np.zeros(2, f32), np.zeros(3)) == (math.inf, math.inf)
    assert figures(np.array([3, -5], np.int32), np.array([3, -8])) == (3 / 8, 3.0)
    # what cancels to nothing is counted at 1/256 of the scale, not in denormals
    error, ulps = figures(np.array([1.0, 1e-9], f32), np.array([1.0, 0.0]))
    assert error == pytest.approx(1e-9) and ulps == pytest.approx(1e-9 * 2**31)


def _campaign(name: str, digest: str, outcome: str = PASS) -> Campaign:
    campaign = Campaign(Found(DEVICE, 0, {}), Options(repro_dir=Path()), None, {})  # type: ignore[arg-type]
    result = Result("k", "v", "c", "exact", outcome, types={"T": "f32"})
    campaign.run.id, campaign.run.results = name, [result]
    campaign.digests[digest_key(result)] = digest
    return campaign


def test_devices_that_disagree_are_found_even_where_each_passes() -> None:
    same = [_campaign("a", "1"), _campaign("b", "1")]
    compare_digests(same)
    assert all(c.run.passed for c in same)
    other = [_campaign("a", "1"), _campaign("b", "2")]
    compare_digests(other)
    assert other[0].run.passed and not other[1].run.passed
    assert other[1].run.results[-1].kind == "devices" and "those of a" in other[1].run.results[-1].message
    failed = [_campaign("a", "1"), _campaign("b", "2", "fail")]
    compare_digests(failed)
    assert len(failed[1].run.results) == 1  # found already
