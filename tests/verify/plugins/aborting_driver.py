"""A driver that aborts while it compiles one variant of softmax."""

import os
import sys

from tests.verify.plugins.planted import before_compiling


def act(name: str) -> None:
    if name.startswith("softmax/team"):
        print("LLVM ERROR: Cannot select: planted", file=sys.stderr, flush=True)
        os.abort()


before_compiling(act)
