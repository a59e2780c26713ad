"""The commands put together, and the errors of the library turned into one line and an exit code."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated

import typer

from costscope.cli.audit_command import audit
from costscope.cli.check import check
from costscope.cli.demo.launch import demo
from costscope.cli.events_command import events
from costscope.cli.exporter import exporter
from costscope.cli.status import status
from costscope.errors import CostscopeError

app = typer.Typer(
    name="costscope",
    help="A hard ceiling on what AI agents spend.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(demo)
app.command()(status)
app.command()(check)
app.command()(audit)
app.command()(events)
app.command()(exporter)


def _print_version(wanted: bool) -> None:
    if wanted:
        from costscope import __version__  # noqa: PLC0415 - the package is being imported when this module is

        typer.echo(f"costscope {__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """A hard ceiling on what AI agents spend."""


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    # where in our code it was raised does not help at a terminal
    sys.stderr.write(f"costscope: warning: {message}\n")


def run() -> int:
    """Run the command of this process's arguments and return its exit code."""
    warnings.showwarning = _show_warning
    try:
        app()
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0
    except CostscopeError as error:
        sys.stderr.write(f"costscope: {error}\n")
        return 2
    return 0
