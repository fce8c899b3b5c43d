"""A driver that aborts while its devices are listed."""

import os

from a1400.backends import registry
from a1400.backends.base import DeviceInfo
from tests.verify.plugins.planted import OddBackend


class Aborting(OddBackend):
    def devices(self) -> list[DeviceInfo]:
        os.abort()


registry.add_backend(Aborting(lambda name: None))
