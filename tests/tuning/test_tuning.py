"""Tuning tables: which row counts, what is refused, and that a launch takes what the table says."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import a1400
from a1400 import tuning
from a1400.backends.base import DeviceInfo
from a1400.errors import KernelArgumentError
from a1400.kernels import load_all
from a1400.kernels.spec import KernelCall
from a1400.tuning.choice import shipped_table, user_path
from tests.engine.onnx_models import mlp

SPEC = load_all()["layer_norm"]
TEAM = SPEC.variant("team")
TYPES = {"T": np.dtype(np.float32), "OUT": np.dtype(np.float32)}
SCALARS = {"rows": 64, "n": 256, "x_off": 0, "x_row": 256, "eps": 1e-5}
INFO = DeviceInfo(
    backend="opencl", index=0, name="Some GPU", vendor="Advanced Micro Devices, Inc.", platform="AMD", driver="1.0",
    kind="gpu", memory=2**30, max_allocation=2**30, local_memory=65536, compute_units=8, max_group_size=256,
    alignment=128, fp16=True, fp64=True, subgroups=False, integer_dot=False, unified_memory=False,
)  # fmt: skip
Plant = Callable[..., Path]


def row(lanes: int = 64, **more: Any) -> dict[str, Any]:
    return {
        "kernel": "layer_norm", "variant": "team", "tunables": {"LANES": lanes, "TEAMS": 1}, "source": "a test", **more,
    }  # fmt: skip


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plant:
    """Writes a user's table of rows (or a text) into a cache folder of its own."""
    monkeypatch.setenv("A1400_CACHE_DIR", str(tmp_path))

    def write_table(*rows: Any, text: str | None = None) -> Path:
        path = user_path()
        path.write_text(json.dumps({"format": 1, "rows": rows}) if text is None else text)
        return path

    return write_table


def chosen(info: DeviceInfo = INFO, **scalars: float) -> dict[str, int]:
    return dict(tuning.lookup(info, SPEC, TEAM, TYPES, {**SCALARS, **scalars}))


def test_the_shipped_table_fits_the_kernels() -> None:
    assert shipped_table().problems == ()


def test_nothing_planted_means_defaults(plant: Plant) -> None:
    assert chosen() == {}
    assert tuning.user_table().rows == ()


def test_narrow_rows_come_before_wide_ones(plant: Plant) -> None:
    given = [
        row(16),
        row(32, device={"kind": "gpu"}),
        row(64, device={"vendor": "advanced micro", "kind": "gpu"}),
        row(128, device={"key": INFO.key}),
    ]
    for count in range(1, 5):
        plant(*given[:count])
        assert chosen()["LANES"] == 8 * 2**count
    assert chosen(replace(INFO, driver="1.1"))["LANES"] == 64
    assert chosen(replace(INFO, driver="1.1", vendor="Intel"))["LANES"] == 32
    assert chosen(replace(INFO, driver="1.1", kind="cpu"))["LANES"] == 16
    plant(row(16, device={"backend": "cuda"}))
    assert chosen() == {} and chosen(replace(INFO, backend="cuda"))["LANES"] == 16


def test_conditions_on_types_and_sizes(plant: Plant) -> None:
    plant(row(16), row(32, scalars={"n": [256, None]}), row(64, types={"T": "f16"}, scalars={"n": [None, 1e9]}))
    assert chosen(n=255)["LANES"] == 16
    assert chosen(n=256)["LANES"] == 32
    half = {"T": np.dtype(np.float16), "OUT": np.dtype(np.float32)}
    assert tuning.lookup(INFO, SPEC, TEAM, half, SCALARS)["LANES"] == 64


def test_a_row_is_laid_over_what_the_kernel_thinks_best(plant: Plant) -> None:
    def settled(**given: int) -> dict[str, int]:
        return dict(tuning.settle(INFO, SPEC, TEAM, TYPES, SCALARS, given))

    assert settled(LANES=16) == {"LANES": 16} and settled() == {}
    plant({**row(), "tunables": {"LANES": 32}})
    assert settled() == {"LANES": 32} and settled(LANES=16, TEAMS=2) == {"LANES": 32, "TEAMS": 2}
    assert settled(TEAMS=16) == {"LANES": 32}  # 512 work-items do not fit: the row alone


def test_a_row_cannot_hold_what_a_kernel_decides_by_itself(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    team = replace(TEAM, tunables=tuple(replace(t, searched=t.name != "TEAMS") for t in TEAM.tunables))
    monkeypatch.setitem(load_all(), "layer_norm", replace(SPEC, variants=(team,)))
    plant(row())
    with pytest.warns(UserWarning, match="layer_norm/team decides TEAMS by itself"):
        assert chosen() == {}


def test_a_row_that_the_device_cannot_hold_is_passed_over(plant: Plant) -> None:
    plant(row(256, device={"kind": "gpu"}), row(16))
    assert chosen()["LANES"] == 256
    assert chosen(replace(INFO, max_group_size=64))["LANES"] == 16


def test_a_changed_file_is_read_again(plant: Plant) -> None:
    plant(row(16))
    assert chosen()["LANES"] == 16
    plant(row(128), row(128, scalars={"n": [1, 2]}))
    assert chosen()["LANES"] == 128
    user_path().unlink()
    assert chosen() == {}


REFUSED = [
    ({"kernel": "nonsense"}, "there is no kernel 'nonsense'"),
    ({"kernel": []}, r"there is no kernel \[\]"),
    ({"variant": "wide"}, "kernel layer_norm has no variant 'wide'; it has cpu, group, team"),
    ({"tunables": {"LANE": 16}}, "layer_norm/team has no tunable 'LANE'; it has LANES, TEAMS"),
    ({"tunables": {"LANES": 48}}, r"takes LANES as one of \[4, 8, 16, 32, 64, 128, 256\], not 48"),
    ({"tunables": {"LANES": True}}, "not True"),
    ({"tunables": {"LANES": 16.0}}, "not 16.0"),
    ({"tunables": {"LANES": 256, "TEAMS": 8}}, "do not fit together"),
    ({"tunables": {}}, "sets no tunable"),
    ({"tunables": 7}, "tunables must be an object"),
    ({"source": " "}, "where the figure came from"),
    ({"device": {"vendor": "AMD"}}, "device must name"),
    ({"device": {"kind": "tpu"}}, "kind other than cpu and gpu"),
    ({"device": {"kind": 3}}, "as texts"),
    ({"device": {"chip": "x"}}, "unknown part 'chip'"),
    ({"types": {"X": "f32"}}, "no dtype variable 'X'"),
    ({"types": {"T": "i8"}}, "not 'i8'"),
    ({"scalars": {"q": [1, 2]}}, "no scalar 'q'"),
    ({"scalars": {"n": [2, 1]}}, "range of n is empty"),
    ({"scalars": {"n": [True, 1]}}, "must be"),
    ({"scalars": {"n": 1}}, "must be"),
    ({"comment": 1}, "unknown field 'comment'"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[m[:40] for _, m in REFUSED])
def test_a_bad_row_is_refused_in_one_sentence_and_the_others_count(
    change: dict[str, Any], message: str, plant: Plant
) -> None:
    path = plant({**row(), **change}, row(128))
    with pytest.warns(UserWarning, match=message) as told:
        assert chosen() == {"LANES": 128, "TEAMS": 1}
    assert len(told) == 1 and str(told[0].message).startswith(f"row 0 of the tuning table {path} is refused: ")
    assert "\n" not in str(told[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # told once, not at every launch
        chosen()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"format": 2, "rows": []}', '{"format": 1}', '{"format": 1, "rows": {}}', "[" * 100_000],
    ids=["empty", "cut", "list", "null", "newer", "no-rows", "rows", "deep"],
)
def test_a_damaged_file_is_ignored_with_a_warning(text: str, plant: Plant) -> None:
    plant(text=text)
    with pytest.warns(UserWarning, match="the tuning table .* it is ignored"):
        assert chosen() == {}


def test_a_file_that_is_none(plant: Plant) -> None:
    user_path().mkdir()
    with pytest.warns(UserWarning, match="is no file"):
        assert chosen() == {}


def test_rows_that_are_not_objects(plant: Plant) -> None:
    plant(7, row(16))
    with pytest.warns(UserWarning, match="it is not an object"):
        assert chosen()["LANES"] == 16


def test_verification_runs_every_row(plant: Plant) -> None:
    elsewhere = row(128, device={"kind": "cpu"})
    plant(elsewhere, row(16, device={"kind": "gpu"}), row(16, scalars={"n": [1, 9]}), row(64, types={"T": "f16"}))
    lanes = [s.get("LANES") for s in tuning.settings_to_verify(SPEC, TEAM, INFO)]
    assert lanes[: 1 + len(TEAM.test_tunables)] == [None, *(t.get("LANES") for t in TEAM.test_tunables)]
    assert lanes[1 + len(TEAM.test_tunables) :] == [16, 64, 128]
    cpu = load_all()["gemm_packed"].variant("cpu")
    assert tuning.settings_to_verify(load_all()["gemm_packed"], cpu, INFO) == [
        {}, *[dict(t) for t in cpu.test_tunables],
    ]  # fmt: skip
    for setting in tuning.settings_to_verify(SPEC, TEAM, INFO):
        TEAM.settings(setting)


def test_a_launch_takes_the_row(plant: Plant, device_info: DeviceInfo, tmp_path: Path) -> None:
    """A row for each kernel of a model: its launches take it, and the answer stays."""
    path, feeds = mlp(tmp_path / "mlp.onnx"), {"x": np.linspace(-1, 1, 32 * 5, dtype=np.float32).reshape(5, 32)}
    model = a1400.load(path, device=device_info.id)
    plain = model.run(feeds)["y"]
    wanted = {}
    for call in (x.call for x in model._latest().plan.launches):
        for t in (t for t in call.variant.tunables if t.searched):
            for value in t.values:
                if value != call.tunables[t.name] and _fits(call, device_info, {t.name: value}):
                    wanted[call.spec.name, call.variant.name] = {t.name: value}
    assert wanted
    plant(*({"kernel": k, "variant": v, "tunables": t, "source": "a test"} for (k, v), t in wanted.items()))
    model = a1400.load(path, device=device_info.id)
    np.testing.assert_allclose(model.run(feeds)["y"], plain, rtol=1e-5)
    for call in (x.call for x in model._latest().plan.launches):
        given = wanted.get((call.spec.name, call.variant.name), {})
        assert call.tunables == {**call.tunables, **given}


def _fits(call: KernelCall, info: DeviceInfo, tunables: dict[str, int]) -> bool:
    try:
        return call.variant.fit(info, call.types, call.scalars, tunables) is not None
    except KernelArgumentError:
        return False
