"""Writing tables: merged, forgotten, exported; whole at every moment; garbage set aside."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from a1400.errors import A1400Error
from a1400.kernels import load_all
from a1400.tuning import lookup, store
from a1400.tuning.choice import user_path
from a1400.tuning.table import Row, parse
from tests.tuning.test_tuning import INFO, SCALARS, SPEC, TEAM, TYPES


def row(n: int = 256, lanes: int = 64, **more: object) -> Row:
    made = Row("layer_norm", "team", {"LANES": lanes, "TEAMS": 1}, "a test", {"key": INFO.key}, {"T": "f32"},
               {"n": (n, n)})  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


def read(path: Path) -> tuple[Row, ...]:
    table = parse(path.read_bytes(), str(path), load_all())
    assert not table.problems
    return table.rows


def test_rows_come_back_as_they_went(tmp_path: Path) -> None:
    rows = (row(), row(scalars={"n": (float("-inf"), 64.0), "eps": (0.5, 0.75)}), row(device={}, types={}, scalars={}))
    store.write(tmp_path / "t.json", rows)
    assert read(tmp_path / "t.json") == rows
    store.write(tmp_path / "t.json", ())
    assert read(tmp_path / "t.json") == ()


def test_merging_replaces_the_same_calls_and_keeps_the_others(tmp_path: Path) -> None:
    path = tmp_path / "new" / "t.json"
    assert store.merge(path, [row(1), row(2)]).added == 2
    change = store.merge(path, [row(1, lanes=128), row(3)], gone=[row(2, lanes=16)])
    assert (change.added, change.removed) == (2, 2)
    assert read(path) == (row(1, lanes=128), row(3))
    before = path.stat().st_mtime_ns
    assert store.merge(path, [row(1, lanes=128)]).added == 0
    assert store.merge(path, [], gone=[row(77)]).removed == 0
    assert read(path) == (row(1, lanes=128), row(3)) and path.stat().st_mtime_ns == before


def test_a_running_process_sees_what_was_merged_and_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A1400_CACHE_DIR", str(tmp_path))
    assert lookup(INFO, SPEC, TEAM, TYPES, SCALARS) == {}
    store.merge(user_path(), [row()])
    assert lookup(INFO, SPEC, TEAM, TYPES, SCALARS) == {"LANES": 64, "TEAMS": 1}
    store.merge(user_path(), [row(lanes=128)])
    assert lookup(INFO, SPEC, TEAM, TYPES, SCALARS)["LANES"] == 128
    assert store.forget(user_path(), lambda r: r.kernel == "layer_norm").removed == 1
    assert lookup(INFO, SPEC, TEAM, TYPES, SCALARS) == {}


def test_merges_at_the_same_time_all_count_and_readers_see_whole_files(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    store.merge(path, [row(0)])
    seen, stop = [], threading.Event()

    def watch() -> None:
        while not stop.is_set():
            seen.append(len(read(path)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: store.merge(path, [row(n)]), range(1, 41)))
    stop.set()
    watcher.join()
    assert {r.scalars["n"][0] for r in read(path)} == set(range(41))
    assert seen == sorted(seen) and len(seen) > 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.json", "t.json.lock"]


@pytest.mark.parametrize(
    "text", ["", "{", '{"format": 2, "rows": []}', "\x00\xff"], ids=["empty", "cut", "newer", "bytes"]
)
def test_garbage_is_set_aside_and_told(text: str, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(text, encoding="latin-1")
    change = store.merge(path, [row()])
    assert read(path) == (row(),)
    assert (tmp_path / "t.json.damaged").read_text(encoding="latin-1") == text
    assert any("t.json.damaged" in note for note in change.notes)


def test_a_row_that_no_kernel_can_take_is_left_out_and_told(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    bad = {**store.row_json(row(5)), "kernel": "nonsense"}
    path.write_text(json.dumps({"format": 1, "rows": [bad, store.row_json(row(6))]}))
    change = store.merge(path, [row(7)])
    assert read(path) == (row(7), row(6))
    assert len(change.notes) == 1 and "there is no kernel 'nonsense'; it was left out" in change.notes[0]


def test_a_table_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(A1400Error, match="cannot be written"):
        store.merge(tmp_path / "file" / "t.json", [row()])
    (tmp_path / "folder").mkdir()
    with pytest.raises(A1400Error, match="cannot be"):
        store.write(tmp_path / "folder", [row()])
    assert not list(tmp_path.glob(".new-*"))


def test_exported_rows_count_for_other_devices() -> None:
    other = replace(INFO, name="Another GPU", driver="2.0")
    assert not row().names(other)
    vendor, kind, key = (store.widened(row(), level, INFO) for level in ("vendor", "kind", "key"))
    assert vendor.names(other) and not vendor.names(replace(other, vendor="NVIDIA"))
    assert kind.names(replace(other, vendor="NVIDIA")) and not kind.names(replace(other, kind="cpu"))
    assert not kind.names(replace(other, backend="cuda"))
    assert key == row() and (vendor.level, kind.level) == (1, 2)
    assert parse(json.dumps({"format": 1, "rows": [store.row_json(vendor)]}), "", load_all()).rows == (vendor,)
