"""``python -m benchmarks.zoo [NAME...] [--list] [--folder FOLDER]``: build models and print their paths."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.zoo.build import build, folder_of_all
from benchmarks.zoo.names import NAMES


def main(given: list[str] | None = None) -> int:
    """Build the named models (all without a name); returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true", help="print the names, and what is built already")
    parser.add_argument("--folder", type=Path, help="where the files lie (default: zoo in a1400's cache folder)")
    options = parser.parse_args(given)
    if unknown := sorted(set(options.names) - set(NAMES)):
        parser.error(f"the zoo has no {', '.join(unknown)}; it has {', '.join(NAMES)}")
    if options.list:
        for name, title in NAMES.items():
            there = (folder_of_all(options.folder) / f"{name}.json").exists()
            figures = f"{build(name, options.folder).flops * 1e-9:8.3f} GFLOP" if there else "not built yet"
            print(f"{name:16} {title:42} {figures:>14}")
        return 0
    for name in options.names or NAMES:
        print(build(name, options.folder).path, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
