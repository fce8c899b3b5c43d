"""``a1400 tune`` from end to end, in processes of its own: on sound kernels, and on one with mistakes planted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import a1400
from a1400.backends.base import DeviceInfo
from a1400.kernels import load_all
from a1400.tuning.choice import user_path, user_table
from tests.engine.onnx_models import mlp

ROOT = Path(__file__).resolve().parents[2]
PLANTED = "tests.tuning.plugins.planted_softmax"


def tune(*arguments: object, status: int = 0) -> tuple[str, str]:
    """stdout and stderr of the command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "a1400", "tune", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True,
        timeout=300, env={**os.environ, "A1400_DEVICE": "", "A1400_BACKEND": ""},
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout, done.stderr


@pytest.fixture
def opencl(device_info: DeviceInfo) -> DeviceInfo:
    """The device under test, if it is an OpenCL device: the planted kernel is written for those."""
    if device_info.backend != "opencl":
        pytest.skip("the planted kernel has an OpenCL source only")
    return device_info


def test_planted_mistakes_are_rejected_survived_and_named(softmax_model: Path, cache: Path, opencl: DeviceInfo) -> None:
    text, _ = tune(
        softmax_model, "--plugin", PLANTED, "--device", opencl.id, "--strategy", "brute_force", "--budget", 200,
        "--timeout", 6, "--json",
    )  # fmt: skip
    told = json.loads(text)
    (call,) = told["calls"]
    assert call["kernel"] == "softmax" and call["checked"] == "the float64 reference" and not call["note"], call
    outcomes = {t["tunables"]["FAULT"]: (t["outcome"], t["message"]) for t in call["rejected"]}
    assert {fault: outcome for fault, (outcome, _) in outcomes.items()} == {
        1: "wrong", 2: "wrong", 3: "wrong", 4: "crash", 5: "hang", 6: "error", 8: "wrong",
    }  # fmt: skip
    for fault, words in {
        1: "of 25600 values differ, first at", 2: "y: 400 of 25600 values are not written", 3: "written past its end",
        4: "SIGABRT; it said: LLVM ERROR: Cannot select: planted", 5: "nothing came back within 6 s", 6: "planted",
        8: "values differ",
    }.items():  # fmt: skip
        assert words in outcomes[fault][1], (fault, outcomes[fault])
    assert call["best"] == {"FAULT": 7} and call["tried"] == 9
    assert call["best_seconds"] < call["default_seconds"]
    assert told["kept"] and told["added"] == 1 and told["whole"]["difference"] < 1e-6

    (row,) = json.loads((cache / "tuning.json").read_text())["rows"]
    assert row["device"] == {"key": opencl.key} and row["tunables"] == {"FAULT": 7}
    assert row["scalars"] == {"rows": [64, 64], "n": [400, 400], "x_row": [400, 400]}
    assert "us against" in row["source"]
    assert not (cache / "programs").exists()  # what is only tried leaves no program behind

    text, _ = tune("--show", "--plugin", PLANTED, "--device", opencl.id)
    assert "softmax/planted" in text and "FAULT=7" in text and "rows=64 n=400" in text
    text, _ = tune("--forget", "--plugin", PLANTED, "--device", opencl.id, "--kernel", "soft*")
    assert text.startswith("1 rows removed, 0 left")


def test_too_many_crashes_end_the_search_and_the_rest_counts(
    softmax_model: Path, cache: Path, opencl: DeviceInfo
) -> None:
    text, _ = tune(
        softmax_model, "--plugin", PLANTED, "--device", opencl.id, "--strategy", "brute_force", "--budget", 200,
        "--timeout", 6, "--crashes", 1, "--json",
    )  # fmt: skip
    told = json.loads(text)
    assert "too many settings ended the process" in told["calls"][0]["note"]
    assert any("stopped at softmax/planted" in note for note in told["notes"])
    assert not told["kept"] and not (cache / "tuning.json").exists()


def test_a_sound_model_keeps_its_answer(tmp_path: Path, cache: Path, device_info: DeviceInfo) -> None:
    path, feeds = mlp(tmp_path / "mlp.onnx"), {"x": np.linspace(-1, 1, 32 * 5, dtype=np.float32).reshape(5, 32)}
    expected = a1400.load(path, device=device_info.id).run(feeds)["y"]
    arguments = (path, "--device", device_info.id, "--shape", "x=5x32", "--budget", 4, "--json")
    told: dict[str, Any] = json.loads(tune(*arguments)[0])
    searched = [call for call in told["calls"] if call["tried"]]
    assert searched and not any(call["rejected"] for call in told["calls"]), told["calls"]
    assert {call["checked"] for call in searched} == {"the float64 reference"}
    assert abs(sum(call["share"] for call in told["calls"]) - 1) < 1e-6
    table = user_table()
    assert not table.problems and len(table.rows) == told["added"]
    assert Path(told["table"] or user_path()) == user_path()
    np.testing.assert_allclose(a1400.load(path, device=device_info.id).run(feeds)["y"], expected, rtol=1e-5)
    for row in table.rows:  # each is a setting that its kernel may have
        load_all()[row.kernel].variant(row.variant).settings(row.tunables)


def test_a_dry_run_searches_nothing(softmax_model: Path, cache: Path, device_info: DeviceInfo) -> None:
    told = json.loads(tune(softmax_model, "--device", device_info.id, "--dry-run", "--json")[0])
    assert [call["kernel"] for call in told["calls"]] == ["softmax"] and told["calls"][0]["tried"] == 0
    assert not (cache / "tuning.json").exists() and not (cache / "programs").exists()


def test_only_kernels_that_are_named(softmax_model: Path, cache: Path, opencl: DeviceInfo) -> None:
    told = json.loads(
        tune(softmax_model, "--plugin", PLANTED, "--device", opencl.id, "--kernel", "gemm*", "--budget", 9, "--json")[0]
    )
    assert told["calls"][0]["note"] == "not asked for" and not told["calls"][0]["tried"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "name a MODEL"),
        (["--show", "--forget"], 2, "--show and --forget do not go together"),
        (["x.onnx", "--show"], 2, "--show takes no MODEL"),
        (["--export", "f.json", "--for", "planet"], 2, "--for wants key, vendor, kind"),
        (["none.onnx"], 1, "none.onnx"),
        (["MODEL", "--strategy", "luck"], 1, "there is no strategy 'luck'; choose one of auto"),
        (["MODEL", "--device", "no such"], 1, "there is no device 'no such'"),
        (["MODEL", "--plugin", "no_such_module"], 1, "the plugin no_such_module cannot be imported"),
    ],
)
def test_mistakes_on_the_command_line(
    arguments: list[str], status: int, message: str, softmax_model: Path, cache: Path
) -> None:
    given = [str(softmax_model) if a == "MODEL" else a for a in arguments]
    _, errors = tune(*given, status=status)
    assert message in errors and "Traceback" not in errors
