"""Results as JSON, and what belongs to every result: versions, commit, date."""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of those of ``packages`` that are installed."""
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> dict[str, Any]:
    """The commit, and whether files differ from it; empty where git cannot tell."""
    try:
        git = ["git", "-C", str(ROOT)]
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=30)
        state = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    if head.returncode or state.returncode:
        return {}
    return {"commit": head.stdout.strip(), "changed_files": bool(state.stdout.strip())}


def surroundings() -> dict[str, Any]:
    """Python, system, commit and date."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        **commit(),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }


def slug(name: str) -> str:
    """A device's name as part of a file's name: ``nvidia_h200``."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:60] or "unknown"


def write(document: Any, path: Path) -> None:
    """Write the JSON, whole or not at all; paths in it are told from the repository's root."""
    text = json.dumps(plain(document), indent=1, allow_nan=False)
    write_text(text.replace(f"{ROOT}{os.sep}", "") + "\n", path)


def write_text(text: str, path: Path) -> None:
    """Write a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def plain(value: Any) -> Any:
    """What strict JSON can say: numbers that are none become null."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
