"""``a1400 run`` around a pretended model."""

from __future__ import annotations

import io
import json
import os
import threading

import numpy as np
import pytest

from .fakes import spec


def test_no_input_is_random_and_says_so(cli, fake, model):
    result = cli("run", model, "--dim", "batch=3")
    assert result.exit_code == 0, result.stderr
    assert "random numbers for image (float32 3x1x8x8)" in result.stderr
    assert fake.calls[0]["image"].shape == (3, 1, 8, 8)
    assert "scores" in result.stdout and "Pretend CPU" in result.stdout and "median of 5" in result.stdout


def test_random_numbers_get_no_class(cli, fake, model):
    (model.parent / "labels.txt").write_text("\n".join("abcdefghij"))
    assert "share" not in cli("run", model).stdout


def test_unnamed_symbolic_dimensions_become_1_and_that_is_said(cli, fake, model):
    result = cli("run", model)
    assert fake.calls[0]["image"].shape == (1, 1, 8, 8)
    assert "assumed batch=1" in result.stderr


def test_random_integers_are_legal_indices(cli, fake, model):
    fake.inputs = {"ids": spec(("n", 7), np.int64), "mask": spec((7,), np.bool_)}
    assert cli("run", model).exit_code == 0
    assert set(np.unique(fake.calls[0]["ids"])) <= {0, 1}
    assert fake.calls[0]["mask"].dtype == np.bool_


def test_pictures_each_get_a_line_with_their_label(cli, fake, model, pictures, tmp_path):
    labels = tmp_path / "names.txt"
    labels.write_text("\n".join(f"class {k}" for k in range(10)))
    result = cli("run", model, "--input", *pictures, "--labels", labels)
    assert result.exit_code == 0, result.stderr
    lines = [line for line in result.stdout.splitlines() if ".png" in line]
    assert [line.split()[1:3] for line in lines] == [["class", "1"], ["class", "5"], ["class", "9"]]
    assert fake.calls[0]["image"].shape == (1, 1, 8, 8)


def test_labels_beside_the_model_are_found(cli, fake, model, pictures):
    (model.parent / "labels.txt").write_text("\n".join("abcdefghij"))
    document = json.loads(cli("run", model, "--input", *pictures, "--json").stdout)
    assert [row["top"][0]["label"] for row in document["results"]] == ["b", "f", "j"]


def test_a_folder_stands_for_its_pictures(cli, fake, model, pictures):
    document = json.loads(cli("run", model, "--input", pictures[0].parent, "--json").stdout)
    assert [row["input"] for row in document["results"]] == [str(path) for path in pictures]


def test_a_recording_becomes_what_the_models_metadata_says(cli, fake, model, tmp_path):
    import soundfile

    from a1400.io.audio import METADATA_KEY, AudioFormat, log_mel

    form = AudioFormat(rate=8000, high=3500.0, mean=-5.0, std=3.0)
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 8000).astype(np.float32)
    soundfile.write(tmp_path / "word.wav", sound, 8000, subtype="FLOAT")
    fake.inputs = {"sound": spec(("batch", form.frames, form.mels, 1))}
    result = cli("run", model, "--input", tmp_path / "word.wav")
    assert result.exit_code == 1 and METADATA_KEY in result.stderr
    fake.metadata[METADATA_KEY] = form.to_json()
    result = cli("run", model, "--input", tmp_path / "word.wav", "--repeat", 0)
    assert result.exit_code == 0, result.stderr
    assert np.array_equal(fake.calls[0]["sound"], log_mel(sound, form)[None, :, :, None])


def test_batches_stack_pictures_and_split_their_outputs(cli, fake, model, pictures):
    document = json.loads(cli("run", model, "--batch", 2, "--repeat", 0, "--input", *pictures, "--json").stdout)
    assert [call["image"].shape[0] for call in fake.calls] == [2, 1]
    assert [row["outputs"]["scores"]["shape"] for row in document["results"]] == [[1, 10]] * 3


def test_a_fixed_batch_is_filled_up(cli, fake, model, pictures):
    fake.inputs = {"image": spec((2, 1, 8, 8))}
    document = json.loads(cli("run", model, "--repeat", 0, "--input", *pictures, "--json").stdout)
    assert [call["image"].shape[0] for call in fake.calls] == [2, 2]
    assert len(document["results"]) == 3


def test_npy_npz_and_names(cli, fake, model, tmp_path):
    fake.inputs = {"a": spec((2,)), "b": spec((3,))}
    np.save(tmp_path / "a.npy", np.ones(2, np.float32))
    np.savez(tmp_path / "both.npz", a=np.zeros(2, np.float32), b=np.full(3, 7, np.float32))
    assert cli("run", model, "-i", f"b={tmp_path / 'both.npz'}", "-i", f"a={tmp_path / 'a.npy'}").exit_code == 0
    np.testing.assert_array_equal(fake.calls[0]["a"], [1, 1])
    np.testing.assert_array_equal(fake.calls[0]["b"], [7, 7, 7])
    fake.calls.clear()
    assert cli("run", model, "-i", tmp_path / "both.npz").exit_code == 0
    np.testing.assert_array_equal(fake.calls[0]["a"], [0, 0])


def test_missing_inputs_are_an_error_unless_random_may_fill_them(cli, fake, model, tmp_path):
    fake.inputs = {"a": spec((2,)), "b": spec((3,))}
    np.save(tmp_path / "a.npy", np.ones(2, np.float32))
    result = cli("run", model, "-i", f"a={tmp_path / 'a.npy'}")
    assert result.exit_code == 2 and "'b'" in result.stderr and "--random" in result.stderr
    result = cli("run", model, "-i", f"a={tmp_path / 'a.npy'}", "--random")
    assert result.exit_code == 0 and "random numbers for b" in result.stderr


def test_save_holds_all_outputs_stacked(cli, fake, model, pictures, tmp_path):
    out = tmp_path / "out.npz"
    result = cli("run", model, "--input", *pictures, "--save", out)
    assert result.exit_code == 0 and str(out) in result.stdout
    with np.load(out) as saved:
        np.testing.assert_array_equal(saved["scores"].argmax(1), [1, 5, 9])


def test_save_to_nowhere_is_one_sentence(cli, fake, model, tmp_path):
    result = cli("run", model, "--save", tmp_path / "no" / "out.npz")
    assert result.exit_code == 1 and "cannot write" in result.stderr


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_save_writes_into_a_pipe_and_through_a_link_and_replaces_neither(cli, fake, model, tmp_path):
    pipe, kept = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: kept.append(pipe.read_bytes()), daemon=True)
    reader.start()
    assert cli("run", model, "--save", pipe).exit_code == 0
    reader.join(10)
    assert pipe.is_fifo()
    with np.load(io.BytesIO(kept[0])) as saved:
        assert saved.files == ["scores"]
    link, out = tmp_path / "link", tmp_path / "out.npz"
    link.symlink_to(out)
    assert cli("run", model, "--save", link).exit_code == 0
    assert link.is_symlink() and out.is_file()
    result = cli("run", model, "--save", tmp_path)
    assert result.exit_code == 1 and "folder" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "out.npz", "pipe", "some.onnx"]


def test_output_names_that_numpy_savez_could_not_take(tmp_path):
    from a1400.cli.save import save_npz

    save_npz(tmp_path / "x.npz", [{"file": np.ones(2), "a/b:0": np.zeros(3)}])
    with np.load(tmp_path / "x.npz") as saved:
        assert sorted(saved.files) == ["a/b:0", "file"]


def test_options_reach_load(cli, fake, model):
    cli(
        "run", model, "--backend", "opencl", "--device", "1", "--disable", "fuse", "--memory-limit", "2GB",
        "--precision", "bf16",
    )  # fmt: skip
    assert fake.loaded == {
        "path": str(model),
        "backend": "opencl",
        "device": "1",
        "disable": ("fuse",),
        "memory_limit": 2 * 10**9,
        "precision": "bf16",
    }


def test_json_is_one_strict_document(cli, fake, model, monkeypatch):
    monkeypatch.setattr(fake, "run", lambda feeds: {"y": np.array([1, np.nan, np.inf], np.float32)})
    document = json.loads(cli("run", model, "--json").stdout, parse_constant=pytest.fail)
    found = document["results"][0]["outputs"]["y"]
    assert found == {"shape": [3], "dtype": "float32", "min": 1.0, "max": 1.0, "mean": 1.0, "not_finite": 2}
    assert document["device"]["id"] == "opencl:0" and document["seconds"]["runs"] == 6


def test_values_that_are_not_finite_are_pointed_out(cli, fake, model, monkeypatch):
    monkeypatch.setattr(fake, "run", lambda feeds: {"y": np.array([np.nan], np.float32)})
    assert "1 values are NaN or infinite" in cli("run", model).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dim", "rows=2"], "no symbolic dimension 'rows'; it has batch"),
        (["--dim", "batch"], "--dim wants NAME=VALUE"),
        (["--dim", "batch=two"], "wants a whole number"),
        (["--shape", "x=1x2"], "no input 'x'"),
        (["--shape", "image=1xx2"], "wants sizes"),
        (["--resize", "big"], "--resize wants HxW"),
        (["--mean", "a,b"], "--mean wants numbers"),
        (["--memory-limit", "lots"], "--memory-limit wants a size"),
        (["--input", "nope=x.npy"], "no input 'nope'"),
    ],
)
def test_usage_errors_have_status_2(cli, fake, model, arguments, words):
    result = cli("run", model, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent.npy", None, "does not exist"),
        ("absent.png", None, "does not exist"),
        ("bad.npy", b"\x93NUMPY broken", "cannot read"),
        ("bad.npz", b"PK not really", "cannot read"),
        ("bad.png", b"\x89PNG\r\n\x1a\n", "cannot read picture"),
        ("what.txt", b"hello", "cannot tell what"),
    ],
)
def test_bad_files_have_status_1_and_one_sentence(cli, fake, model, tmp_path, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    result = cli("run", model, "--input", path)
    assert result.exit_code == 1
    assert words in result.stderr and name in result.stderr and result.stderr.count("\n") == 1


def test_pickled_arrays_are_refused(cli, fake, model, tmp_path):
    np.save(tmp_path / "x.npy", np.array([object()]), allow_pickle=True)
    result = cli("run", model, "--input", tmp_path / "x.npy")
    assert result.exit_code == 1 and "cannot read" in result.stderr


def test_files_are_taken_for_what_they_hold(cli, fake, model, tmp_path):
    x = np.ones((1, 1, 8, 8), np.float32)
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "x.npy").rename(tmp_path / "an_array.npz")
    assert cli("run", model, "--input", tmp_path / "an_array.npz").exit_code == 0
    np.testing.assert_array_equal(fake.calls[0]["image"], x)
    (tmp_path / "text.npy").write_text("1 2 3")
    result = cli("run", model, "--input", tmp_path / "text.npy")
    assert result.exit_code == 1 and "no .npy or .npz file" in result.stderr and "unsafe" not in result.stderr
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }".ljust(117) + b"\n"
    (tmp_path / "huge.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    result = cli("run", model, "--input", tmp_path / "huge.npy")
    assert result.exit_code == 1 and "cannot read" in result.stderr and "unexpected" not in result.stderr


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_are_not_waited_for(cli, fake, model, tmp_path):
    for name in ("x.npy", "x.npz", "x.png"):
        os.mkfifo(tmp_path / name)
        result = cli("run", model, "--input", tmp_path / name)
        assert result.exit_code == 1 and "is not a file" in result.stderr
    assert "is not a file" in cli("run", model, "--labels", tmp_path / "x.npy").stderr


def test_empty_and_overlong_options(cli, fake, model):
    for options in (("--input", ""), ("--input", "image="), ("--memory-limit", "9" * 400), ("--top", "0")):
        assert cli("run", model, *options).exit_code == 2
    assert not fake.calls


def test_no_memory_is_one_sentence(cli, fake, model, monkeypatch):
    def run(_: object) -> None:
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr(fake, "run", run)
    result = cli("run", model)
    assert result.exit_code == 1 and result.stderr.count("\n") == 1
    assert "not enough memory" in result.stderr and "unexpected" not in result.stderr


def test_labels_that_fit_no_output(cli, fake, model, tmp_path):
    (tmp_path / "l.txt").write_text("one\ntwo\n")
    result = cli("run", model, "--labels", tmp_path / "l.txt")
    assert result.exit_code == 2 and "2 classes" in result.stderr
