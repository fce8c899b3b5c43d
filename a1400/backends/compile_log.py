"""Turn a vendor compiler's log into one message that names the offending source line."""

from __future__ import annotations

import re

from a1400.backends.base import DeviceInfo
from a1400.errors import KernelCompileError

# clang and its descendants: "7:12: error: ...", "input.cl:7:12: error: ...", "<kernel>:7:12: error: ..."
# PoCL: "error: /path/tempfile_x.cl:7:12: ..."      NVRTC: "name.cu(7): error: ..."
_PATTERNS = (
    re.compile(r"(?:^|[^\d])(\d+):\d+:\s*(?:fatal )?error\b"),
    re.compile(r"\berror:\s*\S*?:(\d+):\d+:"),
    re.compile(r"\((\d+)\)\s*:\s*(?:catastrophic )?error\b"),
)


def error_line(log: str) -> int | None:
    """The 1-based source line of the first error in ``log``; None when it names none."""
    for text in log.splitlines():
        for pattern in _PATTERNS:
            found = pattern.search(text)
            if found:
                return int(found.group(1))
    return None


def compile_error(name: str, info: DeviceInfo, source: str, log: str) -> KernelCompileError:
    """The error to raise when ``source`` did not compile: kernel, device, driver, line and the log's first errors."""
    where = f"kernel {name!r} did not compile on {info.name} ({info.platform}, driver {info.driver})"
    line = error_line(log)
    lines = source.splitlines()
    if line is not None and 1 <= line <= len(lines):
        where += f", at line {line}: `{lines[line - 1].strip()}`"
    log = log.strip() or "the compiler said nothing"
    if len(log) > 4000:
        log = log[:4000] + "\n..."
    return KernelCompileError(f"{where}\n{log}")
