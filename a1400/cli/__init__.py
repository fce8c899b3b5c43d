"""The command ``a1400``: one module per subcommand, and what they share.

Modules here import the engine inside their functions, so that ``a1400 --help`` and usage errors are immediate.
"""

from __future__ import annotations


def main() -> None:
    """Entry point of the command line; leaves through ``SystemExit``."""
    try:
        from a1400.cli.app import app
    except KeyboardInterrupt:  # later ones are the commands' own
        raise SystemExit(130) from None
    app(prog_name="a1400")
