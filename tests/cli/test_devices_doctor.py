"""``a1400 devices`` and ``a1400 doctor`` on this machine's real devices."""

from __future__ import annotations

import json

import a1400
from a1400.backends import doctor as facts
from a1400.backends import registry


def test_devices_lists_every_device_and_the_default(cli):
    result = cli("devices")
    assert result.exit_code == 0
    for info in a1400.devices():
        assert info.id in result.stdout and info.name in result.stdout
    assert "is the default because" in result.stdout or not a1400.devices()


def test_devices_json(cli):
    document = json.loads(cli("devices", "--json").stdout)
    assert [row["id"] for row in document["devices"]] == [info.id for info in a1400.devices()]
    assert sum(row["default"] for row in document["devices"]) == min(1, len(a1400.devices()))


def test_a_default_that_is_not_there_is_explained(cli, monkeypatch):
    monkeypatch.setenv("A1400_DEVICE", "no such device")
    result = cli("devices")
    assert result.exit_code == 0 and "no such device" in result.stdout


def _report(status: str) -> facts.Report:
    devices = registry.list_devices()[:1]
    probes = [facts.Probe(info.id, status, 0.5, "as told") for info in devices]
    return facts.Report(
        {"python": "3"}, [facts.Package("numpy", "2", "arrays", None)], devices, probes, [], "the default"
    )


def test_doctor(cli, monkeypatch):
    monkeypatch.setattr(facts, "examine", lambda timeout: _report("ok"))
    result = cli("doctor")
    assert result.exit_code == 0 and "Every device computes correctly" in result.stdout
    document = json.loads(cli("doctor", "--json").stdout)
    assert document["ok"] and document["probes"][0]["status"] == "ok"


def test_doctor_has_status_1_when_nothing_computes(cli, monkeypatch):
    monkeypatch.setattr(facts, "examine", lambda timeout: _report("crashed"))
    result = cli("doctor")
    assert result.exit_code == 1 and "Not usable" in result.stdout
