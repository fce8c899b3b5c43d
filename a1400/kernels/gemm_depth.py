"""Into how many parts a product's depth is cut where it has too few results to keep a device busy.

So it is with the gradient of a weight: few rows and columns, and a depth of batch times positions.  Each part sums its
own range of depth; a further launch adds the parts up, always in the same order.
"""

from __future__ import annotations

from a1400.backends.base import DeviceInfo
from a1400.kernels.gemm_pack import PANEL

_ROWS = 12  # of a CPU's block
_TILE = 64  # rows and columns of a usual tile on a GPU
_ITEMS = 4  # blocks for each core, so that all finish together
_CPU_DEPTH, _GPU_DEPTH = 512, 256  # the least that is worth a part
_PART_FLOPS = 1e6  # about 10 microseconds of a core, as long as starting a launch takes
_MOST = 64


def depth_parts(info: DeviceInfo, rows: int, depth: int, columns: int, batch: int = 1) -> int:
    """Number of parts for ``batch`` products ``rows x depth x columns``; 1 leaves them whole."""
    if info.kind == "cpu":
        there = max(1, rows // _ROWS) * -(-columns // PANEL) * batch
        wanted, least = _ITEMS * info.compute_units, _CPU_DEPTH
    else:
        there = -(-rows // _TILE) * -(-columns // _TILE) * batch
        wanted, least = info.compute_units, _GPU_DEPTH
    if not there or 2 * there > wanted:
        return 1
    work = 2.0 * rows * columns * depth * batch
    return max(1, min(wanted // there, depth // least, int(work / _PART_FLOPS), _MOST))
