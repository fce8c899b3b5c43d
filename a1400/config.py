"""Environment variables and the cache folder, in one place."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def backend_from_environment() -> str | None:
    """``A1400_BACKEND``: ``cuda`` or ``opencl``; None when unset or empty."""
    return os.environ.get("A1400_BACKEND", "").strip().lower() or None


def device_from_environment() -> str | None:
    """``A1400_DEVICE``: an index, ``opencl:1`` or part of a device's or platform's name; None when unset."""
    return os.environ.get("A1400_DEVICE", "").strip() or None


def precision_from_environment() -> str | None:
    """``A1400_PRECISION``: ``fp32``, ``tf32``, ``fp16`` or ``bf16``; None when unset or empty."""
    return os.environ.get("A1400_PRECISION", "").strip().lower() or None


def cache_dir() -> Path:
    """Folder for compiled programs and tuning tables: ``A1400_CACHE_DIR`` or the user's cache folder."""
    named = os.environ.get("A1400_CACHE_DIR", "").strip()
    return Path(named) if named else Path(platformdirs.user_cache_dir("a1400", appauthor=False))


def cuda_graphs() -> bool:
    """Whether plans may be recorded as CUDA graphs: not with ``A1400_CUDA_GRAPHS=0``."""
    return os.environ.get("A1400_CUDA_GRAPHS", "").strip() != "0"
