"""``a1400 devices``: what there is to run on."""

from __future__ import annotations

from a1400.backends.base import DeviceInfo
from a1400.cli.common import JsonOption, console, device_json, note, print_json, show, size_text, table
from a1400.errors import BackendNotFoundError


def capabilities(info: DeviceInfo) -> list[str]:
    """What the device can do beyond the minimum, in short words."""
    flags = {
        "fp16": info.fp16,
        "fp64": info.fp64,
        "subgroups": info.subgroups,
        "int8 dot": info.integer_dot,
        "shared memory": info.unified_memory,
    }
    return [name for name, present in flags.items() if present]


def devices(json: JsonOption = False) -> None:
    """List every device: name, vendor, driver, memory, capabilities, and which one is the default and why."""
    from a1400.backends import registry

    found = registry.list_devices()
    try:
        default = registry.find().id if found else None
    except BackendNotFoundError:  # A1400_BACKEND or A1400_DEVICE name what is not there; why_default() says so
        default = None
    why = registry.why_default()
    problems = [text for backend in registry.all_backends().values() for text in backend.problems()]
    if json:
        rows = [{**device_json(info), "default": info.id == default} for info in found]
        print_json({"devices": rows, "default": default, "why": why, "problems": problems})
        return
    if console().width < 100:
        _blocks(found, default)
    elif found:
        _table(found, default)
    show("", why)
    for text in problems:
        note(text)


def _table(found: list[DeviceInfo], default: str | None) -> None:
    rows = table(
        "", "", "id", "name", "vendor", "platform", "driver", "kind", "units", "memory", "can do", right=["units"]
    )
    for info in found:
        rows.add_row(
            "*" if info.id == default else "",
            info.id,
            info.name,
            info.vendor,
            info.platform,
            info.driver,
            info.kind,
            str(info.compute_units),
            size_text(info.memory),
            ", ".join(capabilities(info)),
        )
    show(rows)


def _blocks(found: list[DeviceInfo], default: str | None) -> None:
    """A few lines per device, for a terminal too narrow for the table."""
    for info in found:
        mark = "  (default)" if info.id == default else ""
        show(
            f"{info.id}  {info.name}{mark}",
            f"    {info.vendor}; {info.platform}, driver {info.driver}",
            f"    {info.kind}, {info.compute_units} units, {size_text(info.memory)}; {', '.join(capabilities(info))}",
        )
