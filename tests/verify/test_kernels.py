"""``a1400 verify`` on the kernels' cases: what is right passes; planted mistakes are found, named, and run again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from a1400.verify.results import Report
from tests.verify.conftest import Verify


def by_outcome(report: Report) -> dict[str, list[Any]]:
    """Results by outcome."""
    found: dict[str, list[Any]] = {}
    for run in report.runs:
        for result in run.results:
            found.setdefault(result.outcome, []).append(result)
    return found


def test_right_kernels_pass_in_all_modes(verify: Verify) -> None:
    done = verify("--kernel", "softmax_strided", "--kernel", "gather_nd")
    assert done.status == 0, done.text
    assert "PASS" in done.text and "FAIL" not in done.text
    results = [r for run in done.report.runs for r in run.results]
    assert {r.mode for r in results} == {"exact", "close", "repeat"}
    assert {r.subject for r in results} == {"softmax_strided", "gather_nd"}
    assert all(r.error is not None and r.ulps is not None for r in results if r.mode != "repeat")
    assert 0 < max(r.error for r in results if r.mode == "close") < 1e-4
    assert not list(done.folder.iterdir())


def test_a_wrong_kernel_is_named_and_its_file_runs_again(verify: Verify) -> None:
    done = verify("--plugin", "tests.verify.plugins.wrong_kernel", "--kernel", "pool_[ma]*", "--quick")
    assert done.status == 1
    failed = by_outcome(done.report)["fail"]
    assert {r.subject for r in failed} == {"pool_max"} and {r.mode for r in failed} == {"exact", "close"}
    assert all(r.kind == "values" and Path(r.repro).is_file() for r in failed)
    assert "FAIL" in done.text and "pool_max/" in done.text
    assert any("left out" in note for run in done.report.runs for note in run.notes)

    file = Path(failed[0].repro)
    again = verify("--repro", str(file))
    assert again.status == 1 and "still fails" in again.text and "pool_max" in again.text
    content = json.loads(file.read_text())
    assert "1.001f" in content["source"] and content["device"]["name"] and content["failure"]["message"]
    content["source"] = content["source"].replace("* 1.001f", "* 1.0f")
    file.write_text(json.dumps(content))
    assert verify("--repro", str(file)).status == 0


def test_an_answer_that_depends_on_chance_is_found_by_repeating(verify: Verify) -> None:
    done = verify("--plugin", "tests.verify.plugins.unsteady", "--kernel", "planted_*")
    assert done.status == 1
    found = by_outcome(done.report)
    assert [r.mode for r in found["fail"]] == ["repeat"] and {r.mode for r in found["pass"]} == {"exact", "close"}
    assert found["fail"][0].kind == "repeat" and "run 2 differs from run 1 in 500 of 500" in found["fail"][0].message
    assert verify("--repro", found["fail"][0].repro).status == 1


def test_a_driver_that_aborts_is_a_finding_and_not_the_end(verify: Verify) -> None:
    done = verify("--plugin", "tests.verify.plugins.aborting_driver", "--kernel", "softmax", "--kernel", "gather_nd")
    assert done.status == 1
    found = by_outcome(done.report)
    assert all("SIGABRT" in r.message for r in found["crash"])
    assert any("Cannot select: planted" in r.message for r in found["crash"])
    # three crashes of a variant are enough; what is left out is said, and everything else runs
    assert [r.variant for r in found["crash"]] == ["team"] * 3
    assert {(r.subject, r.variant) for r in found["pass"]} >= {("softmax", "cpu"), ("softmax", "group")}
    assert "gather_nd" in {r.subject for r in found["pass"]}
    assert "were not run: 3 had ended their process" in done.report.runs[0].problem
    # the file holds the launch, and a driver that does not abort runs it
    assert verify("--repro", found["crash"][0].repro).status == 0


def test_a_driver_that_aborts_on_everything_ends_in_bounded_time(verify: Verify) -> None:
    done = verify("--plugin", "tests.verify.plugins.broken_driver", "--crashes", "2", "--kernel", "gather*")
    assert done.status == 1
    assert len(by_outcome(done.report)["crash"]) == 2
    assert "given up after 2 checks" in done.report.runs[0].problem
    assert "ended by itself with status 7" in done.text


def test_a_driver_that_hangs_is_stopped(verify: Verify) -> None:
    done = verify(
        "--plugin", "tests.verify.plugins.hanging_driver", "--kernel", "log_softmax", "--mode", "close", "--quick",
        "--timeout", "8", "--crashes", "1",
    )  # fmt: skip
    assert done.status == 1
    (hang,) = by_outcome(done.report)["hang"]
    assert "nothing came back within 8 s" in hang.message and Path(hang.repro).is_file()
    again = verify("--plugin", "tests.verify.plugins.hanging_driver", "--repro", hang.repro, "--timeout", "8")
    assert again.status == 1 and [r.outcome for r in again.report.runs[0].results] == ["hang"]


def test_a_driver_that_aborts_when_listed_is_reported(verify: Verify) -> None:
    done = verify("--plugin", "tests.verify.plugins.aborting_list", "--kernel", "gather_nd", device=None)
    assert done.status == 1
    assert any("SIGABRT" in run.problem and run.id == "opencl:?" for run in done.report.runs)


def test_lost_barriers_are_found_on_the_host(verify: Verify) -> None:
    from tests.cuda_on_host import compiler

    if not compiler.compiler():
        pytest.skip("the CUDA sources cannot run on this host: install g++")
    wanted = ("--kernel", "transpose", "--quick", "--mode", "exact")
    right = verify("--plugin", "tests.cuda_on_host.plugin", *wanted, device="cuda")
    assert right.status == 0, right.text
    assert len(right.report.runs) >= 2 and all(run.id.startswith("cuda:") for run in right.report.runs)
    done = verify("--plugin", "tests.verify.plugins.lost_barriers", *wanted, device="cuda")
    assert done.status == 1
    assert {r.subject for r in by_outcome(done.report)["fail"]} == {"transpose"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--mode", "fast"), "--mode wants exact, close, repeat"),
        (("--device", "abacus"), "there is no device 'abacus'"),
        (("--dim", "a=1"), "--dim needs a MODEL"),
        (("--repro", "x.json", "--quick"), "--repro runs what its file says"),
    ],
)
def test_mistakes_in_the_command_line(verify: Verify, arguments: tuple[str, ...], words: str) -> None:
    done = verify(*arguments, device=None)
    assert done.status == 2 and words in done.errors


def test_no_such_kernel_and_no_such_plugin(verify: Verify) -> None:
    done = verify("--kernel", "teleport")
    assert done.status == 1 and "no kernel matches teleport" in done.errors
    done = verify("--plugin", "no.such.module")
    assert done.status == 1 and "the plugin no.such.module cannot be imported" in done.errors
