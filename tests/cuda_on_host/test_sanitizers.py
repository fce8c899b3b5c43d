"""The specs' cases under AddressSanitizer and UndefinedBehaviorSanitizer, and accesses out of bounds that must show.

Of each variant the first program runs, of one variant of each source the last one too, with up to two cases each, in
one order of threads (variants alternate); ``A1400_TEST_CASES=all`` runs every program.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cuda_on_host import sanitize
from tests.nvrtc.test_specs import IDS

ROOT = Path(__file__).resolve().parents[2]
_BAD = re.compile(r"runtime error:|ERROR: |AddressSanitizer:DEADLYSIGNAL")

needs_runtimes = pytest.mark.skipif(not sanitize.runtimes(), reason="g++ has no libasan.so and libubsan.so to preload")


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with the sanitizers loaded."""
    return subprocess.run(
        [sys.executable, *arguments], env=sanitize.environment(), cwd=ROOT, capture_output=True, text=True
    )


class Sanitized:
    """A process that runs variants one after the other; a new one takes over when it dies."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def findings(self, name: str) -> list[str]:
        """What goes wrong in variant ``name``: lines with the case and the first frame in a source file."""
        lines, ended = self._lines(name)
        result: list[str] = []
        case = "before any case"
        for at, line in enumerate(lines):
            if line.startswith("CASE "):
                case = line[5:]
            elif _BAD.search(line):
                frames = [f.strip() for f in lines[at : at + 12] if re.search(r"\.(cuh?|h):\d+", f)]
                result.append(f"{case}: {line.strip()} {frames[0] if frames else ''}")
        if not any(line.startswith("CASE ") for line in lines):
            result.append("no case ran")
        if not ended:
            result.append(f"{case}: the process ended: {' '.join(lines[-3:])}")
        return result

    def _lines(self, name: str) -> tuple[list[str], bool]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.cuda_on_host.sanitize", "-"], env=sanitize.environment(), cwd=ROOT,
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
        assert self._process.stdin is not None and self._process.stderr is not None
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()
        lines = []
        for line in self._process.stderr:
            if line == "END\n":
                return lines, True
            lines.append(line.rstrip("\n"))
        self.close()
        return lines, False

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture(scope="session")
def sanitized() -> Iterator[Sanitized]:
    """The process that this session's tests share."""
    process = Sanitized()
    yield process
    process.close()


@needs_runtimes
@pytest.mark.parametrize("name", IDS)
def test_cases_are_clean(name: str, sanitized: Sanitized) -> None:
    found = sanitized.findings(name)
    assert not found, "\n".join(found)


@needs_runtimes
def test_a_process_that_ends_is_a_finding(sanitized: Sanitized) -> None:
    assert "the process ended" in sanitized.findings("no such variant")[-1]
    assert not sanitized.findings(IDS[0])


PROBE = """
import sys, numpy as np
from tests.cuda_on_host.backend import HostCudaBackend
device = HostCudaBackend().open(int(sys.argv[1]))
text = 'extern "C" __global__ void probe(const int *x, int *y) {' + sys.argv[2] + '}'
stream, x, y = device.stream(), device.alloc(40), device.alloc(40)
stream.write(x, np.zeros(10, np.int32))
stream.run([device.compile("probe", text, "probe").bind([x, y], (1, 1, 1), (10, 1, 1))])
print("DONE")
"""


@needs_runtimes
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("y[threadIdx.x] = x[threadIdx.x + 1];", "use-after-poison|READ of size 4"),
        ("y[threadIdx.x] = x[(int)threadIdx.x - 1];", "use-after-poison|READ of size 4"),
        ("y[threadIdx.x + 1] = 0;", "WRITE of size 4"),
        ("__shared__ int s[10], r[10]; s[threadIdx.x] = r[threadIdx.x] = x[threadIdx.x]; __syncthreads();"
         "y[threadIdx.x] = s[threadIdx.x + 1] + r[threadIdx.x];", "global-buffer-overflow"),
        ("y[threadIdx.x] = *(const int *)((const char *)x + 1);", "misaligned address"),
        ("y[threadIdx.x] = 1 << (32 + x[threadIdx.x]);", "shift exponent 32 is too large"),
        ("y[threadIdx.x] = x[threadIdx.x] / x[0];", "division by zero|was ended"),
    ],
    ids=["read behind", "read before", "write behind", "shared", "misaligned", "shift", "division"],
)  # fmt: skip
@pytest.mark.parametrize("index", ["0", "1"])
def test_planted_accesses_are_found(index: str, body: str, message: str) -> None:
    done = start("-c", PROBE, index, body)
    assert re.search(message, done.stderr), done.stderr


@needs_runtimes
def test_a_clean_program_says_nothing() -> None:
    done = start("-c", PROBE, "0", "__shared__ int s[10]; s[threadIdx.x] = x[threadIdx.x]; __syncthreads();"
                 "y[threadIdx.x] = s[9 - threadIdx.x];")  # fmt: skip
    assert done.stdout == "DONE\n"
    assert done.stderr == ""
