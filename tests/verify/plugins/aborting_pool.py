"""A driver that aborts while it compiles max pooling, as a model meets it."""

import os

from tests.verify.plugins.planted import before_compiling


def act(name: str) -> None:
    if name.startswith("pool_max/"):
        os.abort()


before_compiling(act)
