"""Speed of the matrix products and convolutions, beside ONNX Runtime where that is installed.

    python benchmarks/kernels_gemm_conv.py [--device intel] [--only gemm] [--rounds 20] [--threads 2]

Each row runs a kernel, ONNX Runtime and a loop of nothing but fused multiply-adds in turn, round after round, and
keeps the best time of each: what else the machine does disturbs all three alike.  ``peak`` is that loop's rate.
On a machine that is busy with other things, pin the process to one core and count processor time instead:
``taskset -c 1 python benchmarks/kernels_gemm_conv.py --threads 1 --cpu-time``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from a1400.backends.base import Device
from a1400.backends.registry import choose
from a1400.kernels import (
    check,
    conv,
    conv_depthwise,
    conv_pack,
    conv_shape,
    conv_spread,
    conv_transpose,
    gemm,
    gemm_pack,
)
from a1400.kernels.spec import KernelSpec, call
from benchmarks.common.peak import loop

F32 = np.dtype(np.float32)
TYPES = {"TA": F32, "TB": F32, "TC": F32, "ACC": F32}
Run = Callable[[], Any]


@dataclass(frozen=True)
class Row:
    """One line of the table: ``numbers`` are (M, K, N) or (size, C, OC, kernel, stride, groups)."""

    kind: str
    numbers: tuple[int, ...]

    @property
    def label(self) -> str:
        """What the line is called."""
        if self.kind == "gemm":
            return "x".join(map(str, self.numbers))
        size, c, oc, k, s, g = self.numbers
        return f"{size}^2 {c}->{oc} {k}x{k}" + (f" /{s}" if s > 1 else "") + (f" groups {g}" if g > 1 else "")


ROWS = (
    *(Row("gemm", n) for n in (
        (1024, 1024, 1024), (128, 768, 3072), (128, 3072, 768), (128, 768, 768), (3136, 64, 256), (3136, 256, 64),
        (784, 512, 128), (196, 256, 1024), (49, 512, 2048), (49, 2048, 512), (1, 768, 3072), (8, 768, 3072),
        (1, 2048, 1000), (64, 64, 64), (128, 384, 384), (128, 384, 1536), (197, 768, 768), (64, 768, 2304),
        (64, 512, 512), (49, 384, 1152), (3136, 96, 288), (1, 1600, 128), (1, 128, 10), (1, 4096, 4096),
    )),
    *(Row("conv", n) for n in (
        (56, 64, 64, 3, 1, 1), (28, 128, 128, 3, 1, 1), (14, 256, 256, 3, 1, 1), (7, 512, 512, 3, 1, 1),
        (56, 128, 128, 3, 2, 1), (14, 512, 512, 3, 2, 1), (56, 256, 512, 1, 2, 1), (224, 3, 64, 7, 2, 1),
        (224, 3, 32, 3, 2, 1), (224, 3, 768, 16, 16, 1), (56, 64, 3, 3, 1, 1), (56, 64, 64, 3, 1, 4),
        (28, 192, 192, 3, 1, 8), (112, 48, 48, 3, 2, 2), (28, 120, 120, 3, 1, 5), (14, 336, 336, 3, 1, 14),
        (14, 888, 888, 3, 2, 37), (56, 128, 128, 3, 1, 32), (128, 1, 56, 5, 1, 1), (128, 12, 12, 3, 1, 1),
        (150, 1, 64, 5, 1, 1), (150, 64, 32, 3, 1, 1), (150, 32, 9, 3, 1, 1), (28, 1, 32, 3, 1, 1),
        (224, 3, 96, 4, 4, 1),
    )),
    *(Row("depthwise", n) for n in (
        (112, 32, 32, 3, 1, 32), (112, 96, 96, 3, 2, 96), (56, 144, 144, 3, 1, 144), (28, 240, 240, 5, 1, 240),
        (14, 480, 480, 3, 1, 480), (7, 960, 960, 5, 1, 960), (56, 96, 96, 7, 1, 96),
    )),
    *(Row("transpose", n) for n in ((28, 128, 64, 4, 2, 1), (56, 128, 64, 2, 2, 1), (14, 512, 256, 4, 2, 1),
                                (128, 56, 1, 9, 2, 1))),
)  # fmt: skip


class Bench:
    """Prepares rows on one device."""

    def __init__(self, device: Device, threads: int) -> None:
        self.device = device
        self.stream = device.stream()
        self.threads = threads

    def kernel(self, row: Row, rng: np.random.Generator) -> tuple[Run, float, float]:
        """A function that runs the row's kernel once and waits, its flops and its bytes."""
        if row.kind == "gemm":
            m, k, n = row.numbers
            scalars = {"M": m, "N": n, "K": k, "nb0": 1, "nb1": 1, "a_off": 0, "a_b0": 0, "a_b1": 0, "a_m": k, "a_k": 1,
                       "b_off": 0, "b_b0": 0, "b_b1": 0, "c_off": 0, "c_b0": 0, "c_b1": 0, "c_m": n}  # fmt: skip
            a, w = rng.random((m, k), F32), gemm_pack.pack_b(rng.random((k, n), F32))
            tunables = gemm.choose_tunables(self.device.info, scalars)
            return self._bound(gemm.gemm_packed, {"a": a, "b": w}, ("c", m * n), scalars, tunables)
        size, c, oc, k, s, g = row.numbers
        x = rng.random((1, size, size, c), F32)
        spec: KernelSpec = {"conv": conv.conv, "depthwise": conv_depthwise.conv_depthwise,
                            "transpose": conv_transpose.conv_transpose}[row.kind]  # fmt: skip
        pad = self._pad(row)
        if row.kind == "transpose":
            out = (size - 1) * s - 2 * pad + k
            raw = rng.random((c, oc // g, k, k), F32)
            few = conv_spread.pays({"groups": g, "OC": oc, "KD": 1, "KH": k, "KW": k, "sd": 1, "sh": s, "sw": s})
            spec = conv_spread.conv_spread if few else spec
            w = conv_pack.pack_conv_spread(raw) if few else conv_pack.pack_conv_transpose(raw, g, (s, s), (1, 1))
        else:
            out = (size + 2 * pad - k) // s + 1
            raw = rng.random((oc, c // g, k, k), F32)
            w = conv_pack.pack_depthwise(raw) if row.kind == "depthwise" else conv_pack.pack_conv(raw, g)
        scalars = conv_shape.conv_scalars(x.shape, (1, out, out, oc), (k, k), (s, s), (pad, pad), (1, 1), g)
        tunables = conv.choose_tunables(self.device.info, scalars) if row.kind == "conv" else {}
        if "groups" not in {p.name for p in spec.params}:
            del scalars["groups"]
        return self._bound(spec, {"x": x, "w": w}, ("y", out * out * oc), scalars, tunables)

    @staticmethod
    def _pad(row: Row) -> int:
        k, s = row.numbers[3:5]
        if row.kind == "transpose":
            return (k - s) // 2
        return 0 if s == k else k // 2

    def _bound(
        self, spec: KernelSpec, inputs: dict[str, np.ndarray], output: tuple[str, int], scalars: dict[str, int],
        tunables: Any,
    ) -> tuple[Run, float, float]:  # fmt: skip
        buffers = {}
        for name, array in inputs.items():
            buffers[name] = self.device.alloc(array.nbytes)
            self.stream.write(buffers[name], array)
        buffers[output[0]] = self.device.alloc(output[1] * 4)
        variant = spec.choose(self.device.info, TYPES, scalars)
        bound = check.bind(call(spec, variant, TYPES, buffers, scalars, tunables), self.device)

        def run() -> None:
            self.stream.run([bound])
            self.stream.synchronize()

        return run, spec.flops(scalars), spec.bytes(scalars)

    def peak(self) -> tuple[Run, float] | None:
        """A loop of fused multiply-adds in registers and its flops; None where there is no OpenCL CPU device."""
        if self.device.info.backend != "opencl" or self.device.info.kind != "cpu":
            return None
        return loop(self.device, 16)

    def onnxruntime(self, row: Row, rng: np.random.Generator) -> Run | None:
        """The same work in ONNX Runtime with its own layout; None when it is not installed."""
        try:
            import onnxruntime
            from onnx import TensorProto, helper, numpy_helper
        except ImportError:
            return None
        if row.kind == "gemm":
            m, k, n = row.numbers
            x, w, out = rng.random((m, k), F32), rng.random((k, n), F32), [m, n]
            node = helper.make_node("MatMul", ["x", "w"], ["y"])
        else:
            size, c, oc, k, s, g = row.numbers
            x, pad = rng.random((1, c, size, size), F32), self._pad(row)
            shape = (c, oc // g, k, k) if row.kind == "transpose" else (oc, c // g, k, k)
            w, out = rng.random(shape, F32), None
            node = helper.make_node(
                "ConvTranspose" if row.kind == "transpose" else "Conv", ["x", "w"], ["y"], strides=[s, s],
                pads=[pad] * 4, group=g, kernel_shape=[k, k],
            )  # fmt: skip
        graph = helper.make_graph(
            [node], "row", [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)], [numpy_helper.from_array(w, "w")],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        binding = session.io_binding()
        binding.bind_cpu_input("x", x)
        binding.bind_output("y")
        return lambda: session.run_with_iobinding(binding)


def best_times(runs: Sequence[Run], rounds: int, clock: Callable[[], float]) -> list[float]:
    """Best time of each function; they take turns, each repeated to fill about two milliseconds."""
    counts = []
    for run in runs:
        run()
        start = clock()
        run()
        counts.append(max(1, min(200, int(2e-3 / (clock() - start)))))
    best = [float("inf")] * len(runs)
    for _ in range(rounds):
        for i, run in enumerate(runs):
            start = clock()
            for _ in range(counts[i]):
                run()
            best[i] = min(best[i], (clock() - start) / counts[i])
        time.sleep(0.02)  # ONNX Runtime's threads go on spinning for a while, and would take a core from the next
    return best


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default=None)
    parser.add_argument("--device", default=None)
    parser.add_argument("--only", default="", help="gemm, conv, depthwise or transpose")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=0, help="threads of ONNX Runtime; 0 lets it choose")
    parser.add_argument("--cpu-time", action="store_true", help="count processor time of the process, not time")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    device = choose(options.backend, options.device)
    clock = time.process_time if options.cpu_time else time.perf_counter
    bench = Bench(device, options.threads)
    results = []
    if not options.json:
        print(f"{device.info.name} ({device.info.platform})")
        print(f"{'kernel':42} {'us':>9} {'GFLOP/s':>8} {'GB/s':>6} {'of peak':>8} {'ONNX RT us':>11} {'ratio':>6}")
    for row in ROWS:
        if options.only not in ("", row.kind):
            continue
        rng = np.random.default_rng(0)
        run, flops, nbytes = bench.kernel(row, rng)
        peak, other = bench.peak(), bench.onnxruntime(row, rng)
        times = best_times([run, *([peak[0]] if peak else []), *([other] if other else [])], options.rounds, clock)
        rate = flops / times[0]
        result = {"kind": row.kind, "label": row.label, "us": times[0] * 1e6, "gflops": rate / 1e9,
                  "gbytes": nbytes / times[0] / 1e9}  # fmt: skip
        if peak:
            result["of_peak"] = rate / (peak[1] / times[1])
        if other:
            result["onnxruntime_us"] = times[-1] * 1e6
            result["ratio"] = times[-1] / times[0]
        results.append(result)
        if not options.json:
            line = f"{row.kind + ' ' + row.label:42} {result['us']:9.1f} {result['gflops']:8.1f}"
            line += f" {result['gbytes']:6.1f}"
            line += f" {result['of_peak']:8.0%}" if peak else f" {'':8}"
            print(line + (f" {result['onnxruntime_us']:11.1f} {result['ratio']:6.2f}" if other else ""), flush=True)
    if options.json:
        print(json.dumps({"device": device.info.name, "platform": device.info.platform, "rows": results}, indent=2))


if __name__ == "__main__":
    main()
