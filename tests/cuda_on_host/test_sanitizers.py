"""The specs' cases under AddressSanitizer and UndefinedBehaviorSanitizer, and accesses out of bounds that must show.

Of each variant the first and the last program run, with up to two cases each, in one order of threads (variants
alternate); ``A1400_SANITIZE=all`` runs every program.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
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


def findings(output: str) -> dict[str, list[str]]:
    """What went wrong in each variant: lines that say it, with the case and the first frame in a source file."""
    result: dict[str, list[str]] = {}
    name, case, ended = "", "", False
    lines = output.splitlines()
    for at, line in enumerate(lines):
        if line.startswith("CASE "):
            name, _, case = line[5:].partition(": ")
            result.setdefault(name, [])
        elif _BAD.search(line):
            frames = [f.strip() for f in lines[at : at + 12] if re.search(r"\.(cuh?|h):\d+", f)]
            result.setdefault(name, []).append(f"{case}: {line.strip()} {frames[0] if frames else ''}")
        ended = ended or line == "END"
    if not ended:
        result.setdefault(name, []).append(f"{case}: the process ended: {' '.join(lines[-3:])}")
    return result


@pytest.fixture(scope="session")
def reports(request: pytest.FixtureRequest) -> dict[str, list[str]]:
    """Findings of every variant that the chosen tests ask for, from as many processes as there are cores."""
    tests = [item for item in request.session.items if isinstance(item, pytest.Function)]
    names = [item.callspec.params["name"] for item in tests if item.originalname == "test_cases_are_clean"]
    count = os.cpu_count() or 1
    shards = [names[i::count] for i in range(count) if names[i::count]]
    with ThreadPoolExecutor(count) as pool:
        outputs = list(pool.map(lambda shard: start("-m", "tests.cuda_on_host.sanitize", *shard).stderr, shards))
    result: dict[str, list[str]] = {}
    for output in outputs:
        for name, found in findings(output).items():
            result.setdefault(name, []).extend(found)
    return result


@needs_runtimes
@pytest.mark.parametrize("name", IDS)
def test_cases_are_clean(name: str, reports: dict[str, list[str]]) -> None:
    unplaced = reports.get("", [])
    assert not unplaced, "\n".join(unplaced)
    assert name in reports or name not in IDS, "no case ran"
    assert not reports[name], "\n".join(reports[name])


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
