"""Openers of engines that go wrong in one way each, for ``test_cpu_script.py``."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.cpu_parts.opening import Feeds, Opened, Opening, onnxruntime


def _changed(job: Mapping[str, Any], feeds: Feeds, change: Any) -> Opening:
    steps = onnxruntime(job, feeds)
    yield next(steps)
    right = next(steps)
    assert right is not None
    yield Opened(lambda: change(right.run()))


def slower(job: Mapping[str, Any], feeds: Feeds) -> Opening:
    """The right answer after 20 ms."""

    def wait(outputs: list[np.ndarray]) -> list[np.ndarray]:
        time.sleep(0.02)
        return outputs

    return _changed(job, feeds, wait)


def wrong(job: Mapping[str, Any], feeds: Feeds) -> Opening:
    """One value of many is off by a hundredth."""

    def spoil(outputs: list[np.ndarray]) -> list[np.ndarray]:
        first = outputs[0].copy()
        first.reshape(-1)[-1] += 0.01
        return [first, *outputs[1:]]

    return _changed(job, feeds, spoil)


def raises(job: Mapping[str, Any], feeds: Feeds) -> Opening:
    """Cannot load the model."""
    print("engines may print")
    yield None
    raise NotImplementedError("no such operator")


def hangs(job: Mapping[str, Any], feeds: Feeds) -> Opening:
    """Never gets as far as its imports."""
    time.sleep(600)
    yield None


def aborts(job: Mapping[str, Any], feeds: Feeds) -> Opening:
    """Dies in its third run, which is in its first turn."""
    left = [2]

    def count(outputs: list[np.ndarray]) -> list[np.ndarray]:
        if not left[0]:
            os.abort()
        left[0] -= 1
        return outputs

    return _changed(job, feeds, count)
