"""A driver that leaves the process, by exit and not by signal, whatever it compiles."""

import os

from tests.verify.plugins.planted import before_compiling

before_compiling(lambda name: os._exit(7))
