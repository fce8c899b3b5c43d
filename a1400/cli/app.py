"""The command line's root: options of ``a1400`` itself and the table of subcommands."""

from __future__ import annotations

from typing import Annotated

import typer

from a1400.cli import bench, devices, doctor, explain, profile, run, tune, verify
from a1400.cli.common import command

app = typer.Typer(
    name="a1400",
    help="Run deep-learning models on any accelerator: CUDA or OpenCL, GPU or plain CPU.",
    no_args_is_help=True,
    add_completion=False,
    # Tracebacks are shown on request only (A1400_DEBUG=1): see common.command.
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        import a1400

        typer.echo(f"a1400 {a1400.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Run deep-learning models on any accelerator: CUDA or OpenCL, GPU or plain CPU."""


app.command("devices")(command(devices.devices))
app.command("doctor")(command(doctor.doctor))
app.command("run")(command(run.run))
app.command("explain")(command(explain.explain))
app.command("bench")(command(bench.bench))
app.command("profile")(command(profile.profile))
app.command("tune")(command(tune.tune))
app.command("verify")(command(verify.verify))
