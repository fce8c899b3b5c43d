"""``a1400 explain``: what each optimizer pass did, what is left to launch, and where every node runs."""

from __future__ import annotations

from a1400.cli.common import (
    BackendOption,
    DeviceOption,
    DimOption,
    DisableOption,
    JsonOption,
    MemoryOption,
    ModelArgument,
    PrecisionOption,
    ShapeOption,
    device_json,
    note,
    parse_dims,
    parse_shapes,
    parse_size,
    print_json,
    show,
    working,
)


def explain(
    model: ModelArgument,
    dim: DimOption = None,
    shape: ShapeOption = None,
    disable: DisableOption = None,
    precision: PrecisionOption = None,
    memory_limit: MemoryOption = None,
    backend: BackendOption = None,
    device: DeviceOption = None,
    json: JsonOption = False,
) -> None:
    """Show what becomes of MODEL: passes, nodes, launches, programs, memory, and where each node runs."""
    dims, shapes, limit = parse_dims(dim), parse_shapes(shape), parse_size(memory_limit)

    import a1400
    from a1400.cli.inputs import check_names, random_inputs

    with working(f"loading {model.name}"):
        loaded = a1400.load(
            str(model), backend, device, disable=tuple(disable or ()), memory_limit=limit, precision=precision
        )
    check_names(loaded.inputs, dims, shapes)
    notes: list[str] = []
    feeds = random_inputs(loaded.inputs, dims, shapes, notes)
    with working(f"compiling {model.name} for {loaded.device.name}"):
        loaded.prepare(feeds)
        explanation = loaded.explain()
        memory = loaded.memory()
    if json:
        inputs = {name: {"shape": array.shape, "dtype": str(array.dtype)} for name, array in feeds.items()}
        print_json(
            {
                "model": str(model),
                "device": device_json(loaded.device),
                "inputs": inputs,
                "explanation": explanation.to_dict(),
                "memory": memory.to_dict(),
            }
        )
        return
    for text in notes:
        if text.startswith("assumed"):
            note(f"note: {text}")
    show(str(explanation), "", str(memory))
