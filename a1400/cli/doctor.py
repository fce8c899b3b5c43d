"""``a1400 doctor``: does this machine have what it takes, and if not, what mends it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from a1400.cli.common import JsonOption, device_json, print_json, show, table, time_text, working


def doctor(
    timeout: Annotated[float, typer.Option(help="Seconds that each device's test may take.", min=1, max=86400)] = 60.0,
    json: JsonOption = False,
) -> None:
    """Check the installation: packages, devices, and a small kernel on each device in a process of its own.

    The exit status is 1 when no device computes.
    """
    from a1400.backends import doctor as facts

    with working("testing each device"):
        report = facts.examine(timeout)
    working_devices = [probe.device for probe in report.probes if probe.ok]
    if json:
        document = asdict(report)
        document["devices"] = [device_json(info) for info in report.devices]
        document["ok"] = bool(working_devices)
        print_json(document)
    else:
        _show(report)
    if not working_devices:
        raise typer.Exit(1)


def _show(report: object) -> None:
    from a1400.backends.doctor import Report

    assert isinstance(report, Report)
    rows = table("System", "", "")
    for name, value in report.system.items():
        rows.add_row(name, value)
    show(rows, "")

    rows = table("Packages", "package", "version", "for", "to install")
    for package in report.packages:
        missing = "" if package.version else package.command or "not needed"
        rows.add_row(package.name, package.version or "-", package.purpose, missing)
    show(rows, "")

    rows = table("Devices", "id", "name", "platform", "test", "time", "detail", right=["time"])
    names = {info.id: info for info in report.devices}
    for probe in report.probes:
        info = names[probe.device]
        rows.add_row(probe.device, info.name, info.platform, probe.status, time_text(probe.seconds), probe.detail)
    show(rows if report.probes else "Devices: none")
    show("", report.default)
    for text in report.problems:
        show(f"- {text}")
    failed = [probe.device for probe in report.probes if not probe.ok]
    if failed:
        show(f"Not usable: {', '.join(failed)}. Update the driver, or name another device with A1400_DEVICE.")
    elif report.probes:
        show("Every device computes correctly.")
