"""The parent's side: each device's checks in processes of its own, started again behind what ends them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

import a1400
from a1400.errors import A1400Error
from a1400.verify import repro
from a1400.verify.child import Ending, run_child
from a1400.verify.find import Found
from a1400.verify.results import CRASH, FAIL, HANG, MODES, DeviceRun, Report, Result
from a1400.verify.worker import info_to_json

#: a variant whose checks have ended so many processes is not tried again on that device
_PER_VARIANT = 3


class Watcher(Protocol):
    """Someone who looks on (a progress bar)."""

    def device(self, found: Found, total: int) -> None:
        """``total`` checks follow on a device."""

    def step(self, result: Result | None) -> None:
        """One check is done; None where it was left out."""


@dataclass(frozen=True)
class Options:
    """What to run and how patiently.

    ``kernels`` are patterns of names (none: all); ``timeout`` is the longest time in seconds that one check may take,
    compiling included; after ``crashes`` processes that died or hung a device is given up.
    """

    plugins: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    modes: tuple[str, ...] = MODES
    quick: bool = False
    timeout: float = 120.0
    crashes: int = 20
    repro_dir: Path = Path("a1400-repro")


@dataclass
class Campaign:
    """One device's checks across as many processes as it takes."""

    found: Found
    options: Options
    watcher: Watcher
    job: dict[str, Any]
    run: DeviceRun = field(init=False)
    digests: dict[str, str] = field(default_factory=dict)
    total: int = 0
    _open: tuple[int, Result] | None = None
    _next: int = 0
    _left_out: int = 0
    _skipped: int = 0
    _ended: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.run = new_run(self.found)

    def go(self) -> None:
        """Run everything; afterwards ``run`` is complete."""
        begin = time.perf_counter()
        crashes, told = 0, False
        while True:
            tired = sorted(name for name, count in self._ended.items() if count >= _PER_VARIANT)
            job = {**self.job, "start": self._next, "skip": tired}
            self._open = None

            def hear(message: dict[str, Any]) -> None:
                nonlocal told
                if "total" in message and not told:
                    told = True
                    self.total, self._left_out = message["total"], message.get("left_out", 0)
                    self.watcher.device(self.found, self.total)
                self._hear(message)

            ending = run_child(job, self.found.environment, self.options.timeout, hear)
            if ending.how == "done":
                break
            if ending.how == "failed" or self._open is None:
                self.run.problem = ending.detail if ending.how == "failed" else _outside(ending, self._next, self.total)
                break
            self._record(ending)
            crashes += 1
            if self._next >= self.total:
                break
            if crashes >= self.options.crashes:
                self.run.problem = (
                    f"given up after {crashes} checks that ended their process; {self.total - self._next} of "
                    f"{self.total} checks were not run"
                )
                break
        self._tell_left_out()
        self.run.seconds = time.perf_counter() - begin

    def _hear(self, message: dict[str, Any]) -> None:
        if "begin" in message:
            self._open = (message["begin"], Result(**message["check"]))
        elif "result" in message:
            result = Result(**message["result"])
            if self._open is not None:
                self._next = self._open[0] + 1
            self._open = None
            self.run.results.append(result)
            if message.get("digest"):
                self.digests[digest_key(result)] = message["digest"]
            self.watcher.step(result)
        elif "skipped" in message:
            self._next = message["skipped"] + 1
            self._skipped += 1
            self.watcher.step(None)
        elif "note" in message:
            self.run.notes.append(message["note"])

    def _record(self, ending: Ending) -> None:
        """The check that was going on ended the process: a finding with a file of its own."""
        assert self._open is not None
        number, result = self._open
        result.outcome = HANG if ending.how == "hang" else CRASH
        result.kind, result.message = ending.how, ending.detail
        self._ended[f"{result.subject}/{result.variant}"] += 1
        self._next = number + 1
        self._describe(number, result)
        self.run.results.append(result)
        self.watcher.step(result)

    def _describe(self, number: int, result: Result) -> None:
        """Have the launch written down by a process that opens no device; find the node where it was a model's."""
        if self.job["task"] == "model":
            self._locate(number, result)
        if self.job["task"] != "kernels":
            return
        contents: list[dict[str, Any]] = []
        job = {**self.job, "task": "describe", "number": number, "result": vars(result)}
        ending = run_child(job, self.found.environment, max(self.options.timeout, 60.0),
                           lambda m: contents.append(m["repro"]) if "repro" in m else None)  # fmt: skip
        if contents:
            result.repro = repro.write(self.options.repro_dir, self.found.info, result, contents[0])
        else:
            result.message += f" (its launch could not be written down: {ending.detail})"

    def _locate(self, number: int, result: Result) -> None:
        """Run the model's launches one by one until one ends that process too."""
        from a1400.verify.arrays import load_arrays
        from a1400.verify.model_checks import checks_of, model_facts

        last: dict[str, Any] = {}
        feed = checks_of(self.job)[number][0]
        job = {**self.job, "task": "locate", "feed": feed}
        ending = run_child(job, self.found.environment, self.options.timeout, last.update)
        if ending.how in ("crash", "hang") and last:
            result.node, result.message = last["node"], f"{last['at']}: {result.message}"
        else:
            result.message += "; it does not happen when the launches run one by one"
        place = self.job["feeds"][feed]
        feeds = load_arrays(Path(place["file"]), place["arrays"])
        content = repro.model_document(
            model_facts(self.job, feed), feeds, result, self.found.info, a1400.__version__
        )  # fmt: skip
        result.repro = repro.write(self.options.repro_dir, self.found.info, result, content)

    def _tell_left_out(self) -> None:
        if self._left_out:
            self.run.notes.append(f"--quick left out {self._left_out} checks and kept {self.total}")
        if self._skipped:
            tired = ", ".join(sorted(name for name, count in self._ended.items() if count >= _PER_VARIANT))
            text = f"{self._skipped} more checks of {tired} were not run: {_PER_VARIANT} had ended their process"
            self.run.problem = f"{self.run.problem}; {text}" if self.run.problem else text


def _outside(ending: Ending, done: int, total: int) -> str:
    if total == 0:
        return f"the device could not be opened: {ending.detail}"
    return f"between checks ({done} of {total} done): {ending.detail}"


def new_run(found: Found) -> DeviceRun:
    """An empty run of a device."""
    info = found.info
    return DeviceRun(info.id, info.name, info.platform, info.driver, info.kind)


def new_report(model: str = "") -> Report:
    """An empty report of now."""
    return Report(a1400.__version__, datetime.now(timezone.utc).isoformat(timespec="seconds"), model)


def verify_kernels(devices: Sequence[Found], options: Options, watcher: Watcher) -> Report:
    """Every kernel's checks on each device in turn; raises :class:`A1400Error` when no check is left to run."""
    report = new_report()
    campaigns = []
    for found in devices:
        local = {**info_to_json(found.info), "index": found.index}
        job = found.job(
            "kernels", options.plugins, info=info_to_json(found.info), local=local, kernels=list(options.kernels),
            modes=list(options.modes), quick=options.quick, repro_dir=str(options.repro_dir),
        )  # fmt: skip
        campaign = Campaign(found, options, watcher, job)
        campaign.go()
        campaigns.append(campaign)
        report.runs.append(campaign.run)
    if campaigns and not any(c.total or c.run.problem for c in campaigns):
        raise A1400Error(f"no check is left: no kernel matches {', '.join(options.kernels) or 'that'} in these modes")
    compare_digests(campaigns)
    return report


def digest_key(result: Result) -> str:
    """What gives the same small integers on every device, in every variant and with all tunables."""
    return f"{result.subject} {result.case} {sorted(result.types.items())}"


def compare_digests(campaigns: Sequence[Campaign]) -> None:
    """Add a finding wherever two devices give different bits in exact mode, though each passed by itself."""
    first: dict[str, tuple[str, str]] = {}
    for campaign in campaigns:
        broken = {digest_key(r) for r in campaign.run.results if r.mode == "exact" and not r.passed}
        for key, digest in campaign.digests.items():
            if key in broken:
                continue
            known = first.setdefault(key, (digest, campaign.run.id))
            if known[0] != digest:
                result = next(r for r in campaign.run.results if r.mode == "exact" and digest_key(r) == key)
                departed: Mapping[str, Any] = {**vars(result), "outcome": FAIL, "kind": "devices"}
                message = f"both pass, yet the bits differ from those of {known[1]}"
                campaign.run.results.append(Result(**{**departed, "message": message}))
