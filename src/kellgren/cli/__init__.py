"""The command line: it only translates between people and the packages below."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from kellgren.cli import bundle, data, evaluate, grade, listen, locate, serve, store
from kellgren.cli.exit_codes import ExitCode
from kellgren.cli.plain_text import show_any_text
from kellgren.cli.training import choose, pack, reproduce, train
from kellgren.errors import BundleError, CannotKeep, KellgrenError
from kellgren.library_messages import silence_dicom_loggers

app = typer.Typer(
    name="kellgren",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Kellgren-Lawrence grades of knee X-rays. Research software, not a medical device.",
    epilog="Start here: [bold]kellgren grade examples --overlay overlays[/bold]",
)
app.command(name="grade", epilog=grade.EXAMPLES)(grade.grade)
app.command(name="locate", epilog=locate.EXAMPLES)(locate.locate)
app.command(name="evaluate", epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command(name="serve", epilog=serve.EXAMPLES)(serve.serve)
app.command(name="listen", epilog=listen.EXAMPLES)(listen.listen)
app.add_typer(store.app, name="store")
app.add_typer(data.app, name="data")
train.app.command(name="choose", epilog=choose.EXAMPLES)(choose.choose)
train.app.command(name="publish", epilog=choose.PUBLISHING)(choose.publish)
pack.register(train.app, data.app)
reproduce.register(train.app)
app.add_typer(train.app, name="train")
app.add_typer(bundle.app, name="bundle")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kellgren {version('kellgren')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version, and stop."
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; its errors are one line on standard error and an `ExitCode`."""
    silence_dicom_loggers()
    show_any_text()
    try:
        app()  # handles wrong usage, broken pipes and Ctrl-C by itself, with an exit code
    except SystemExit as end:
        if end.code == ExitCode.INTERRUPTED:
            _report(
                "interrupted: what was finished is kept; --resume goes on from there"
                " (train ensemble does so by itself)"
            )
        raise
    except BundleError as error:
        _report(f"error: {error}")
        sys.exit(ExitCode.MODEL_MISSING)
    except CannotKeep as error:
        _report(f"error: {error}")
        sys.exit(ExitCode.SOME_FAILED)
    except KellgrenError as error:
        _report(f"error: {error}")
        sys.exit(ExitCode.USAGE)
    except OSError as error:
        _report(f"error: {error.filename or 'file system'}: {error.strerror}")
        sys.exit(ExitCode.SOME_FAILED)


def _report(message: str) -> None:
    typer.echo(message, err=True)
