"""What goes wrong is one message and an exit status, never a traceback: in this process and as a real command."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import a1400
from a1400.errors import ModelFileError


def command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "a1400", *map(str, arguments)],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_an_a1400_error_is_its_message(cli, model, monkeypatch):
    def load(*_: object, **__: object) -> None:
        raise ModelFileError("that [file] is damaged")

    monkeypatch.setattr(a1400, "load", load, raising=False)
    for name in ("run", "explain", "bench"):
        result = cli(name, model)
        assert result.exit_code == 1
        assert result.stderr == "a1400: that [file] is damaged\n" and not result.stdout


def test_an_unforeseen_error_is_one_line_too(cli, model, monkeypatch):
    def load(*_: object, **__: object) -> None:
        raise RuntimeError("deep\ninside")

    monkeypatch.setattr(a1400, "load", load, raising=False)
    result = cli("run", model)
    assert result.exit_code == 1
    assert result.stderr == "a1400: unexpected RuntimeError: deep inside (A1400_DEBUG=1 shows where)\n"
    monkeypatch.setenv("A1400_DEBUG", "1")
    assert isinstance(cli("run", model).exception, RuntimeError)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("absent.onnx", None),
        ("empty.onnx", b""),
        ("text.onnx", b"this is no model\n"),
        ("cut.onnx", b"\x08\x0a\x12\x07pyt"),
    ],
)
def test_what_is_not_a_model(tmp_path, name, content):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    result = command("run", path)
    assert result.returncode == 1, result.stderr
    message = result.stderr.splitlines()[-1]  # a slow machine says before it that the model is being loaded
    assert message.startswith("a1400: ") and name in message
    assert "Traceback" not in result.stderr and not result.stdout


def test_names_of_a_model_do_not_steer_the_terminal(tmp_path):
    from onnx import TensorProto, helper, save

    def model(path, op):
        node = helper.make_node(op, ["x\x1b[2J"], ["y\x1b]0;owned\x07"], name="n\x1b[31m")
        value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [2])  # noqa: E731
        graph = helper.make_graph([node], "g\x1b[5m", [value("x\x1b[2J")], [value("y\x1b]0;owned\x07")])
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
        return path

    for name, op in (("good.onnx", "Relu"), ("bad.onnx", "Det")):
        result = command("explain", model(tmp_path / name, op))
        shown = result.stdout + result.stderr
        assert "x1b" in shown and "\x1b" not in shown and "\x07" not in shown, shown


def test_a_device_that_is_not_there(tmp_path):
    example = os.path.join(os.path.dirname(__file__), "../../examples/image_classification/digits.onnx")
    result = command("run", example, "--device", "no such device")
    assert result.returncode == 1
    assert "no such device" in result.stderr and "Traceback" not in result.stderr


def test_usage_errors_and_help():
    assert command("run").returncode == 2
    assert command("nonsense").returncode == 2
    result = command("--help")
    assert result.returncode == 0
    for name in ("devices", "doctor", "run", "explain", "bench"):
        assert name in result.stdout
    assert command("--version").stdout.strip() == f"a1400 {a1400.__version__}"


EXAMPLE = os.path.join(os.path.dirname(__file__), "../../examples/image_classification/digits.onnx")


def test_caches_that_cannot_be_written_only_cost_time(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    nowhere = str(tmp_path / "file" / "below")
    result = command("run", EXAMPLE, "--repeat", 0, A1400_CACHE_DIR=nowhere, XDG_CACHE_HOME=nowhere, HOME=nowhere)
    assert result.returncode == 0 and "Traceback" not in result.stderr, result.stderr


def test_closed_streams_are_no_error():
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        script = f"'{sys.executable}' -m a1400 run '{EXAMPLE}' --repeat 0 {closed}"
        result = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=120)
        assert result.returncode == 0 and "unexpected" not in result.stderr, result.stderr


def test_a_reader_that_leaves_early_is_no_error():
    script = f"'{sys.executable}' -m a1400 devices | head -c 1"
    result = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=120)
    assert "Traceback" not in result.stderr and "Exception" not in result.stderr
