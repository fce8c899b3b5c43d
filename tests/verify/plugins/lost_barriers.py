"""The CUDA sources on the host, without the barriers of the tiled transpose: threads read what none has written yet."""

from __future__ import annotations

import re

from a1400.kernels.spec import KernelCall
from tests.cuda_on_host import plugin  # noqa: F401 - brings the host's CUDA devices
from tests.verify.plugins.planted import change_text


def change(call: KernelCall, text: str) -> str:
    """No barrier in the kernel's own source."""
    if call.spec.name != "transpose":
        return text
    head, mark, body = text.rpartition("\n#line 1 ")
    return head + mark + re.sub(r"local_barrier\(\);", "", body)


change_text(change)
