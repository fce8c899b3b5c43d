"""Turn a vendor compiler's log into one message that names the offending source line."""

from __future__ import annotations

import re

from a1400.backends.base import DeviceInfo
from a1400.errors import KernelCompileError

# clang and its descendants: "7:12: error: ...", "input.cl:7:12: error: ...", "<kernel>:7:12: error: ..."
# PoCL: "error: /path/tempfile_x.cl:7:12: ..."      NVRTC: "name.cu(7): error: ..."
_PATTERNS = (
    re.compile(r"(?:^|[\s])(\S*?):?\b(\d+):\d+:\s*(?:fatal )?error\b"),
    re.compile(r"\berror:\s*(\S*?):(\d+):\d+:"),
    re.compile(r"(\S*?)\((\d+)\)\s*:\s*(?:catastrophic )?error\b"),
)
_LINE_DIRECTIVE = re.compile(r'#line (\d+) "([^"]*)"')


def error_place(log: str) -> tuple[str, int] | None:
    """(file name as the compiler gives it, 1-based line) of the first error in ``log``; None when it names none."""
    for text in log.splitlines():
        for pattern in _PATTERNS:
            found = pattern.search(text)
            if found:
                return found.group(1), int(found.group(2))
    return None


def source_line(source: str, file: str, line: int) -> str | None:
    """Text of ``line`` of ``file`` within ``source``, whose ``#line`` directives name the files it is made of."""
    lines = source.splitlines()
    base = file.rsplit("/", 1)[-1]
    start = 0
    for number, text in enumerate(lines):
        directive = _LINE_DIRECTIVE.match(text)
        if directive and directive.group(2) == base:
            start = number + 2 - int(directive.group(1))
    index = start + line - 1
    return lines[index].strip() if 0 <= index < len(lines) else None


def compile_error(name: str, info: DeviceInfo, source: str, log: str) -> KernelCompileError:
    """The error to raise when ``source`` did not compile: kernel, device, driver, line and the log's first errors."""
    where = f"kernel {name!r} did not compile on {info.name} ({info.platform}, driver {info.driver})"
    place = error_place(log)
    text = source_line(source, *place) if place else None
    if place and text is not None:
        file = place[0].rsplit("/", 1)[-1]
        where += f", at {file + ' ' if file else ''}line {place[1]}: `{text}`"
    log = log.strip() or "the compiler said nothing"
    if len(log) > 4000:
        log = log[:4000] + "\n..."
    return KernelCompileError(f"{where}\n{log}")
