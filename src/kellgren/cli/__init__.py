"""The command line: it only translates between people and the packages below."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from kellgren import __version__
from kellgren.cli import bundle, data, evaluate, grade, listen, locate, serve
from kellgren.cli.training import choose, pack, train
from kellgren.errors import BundleError, CannotKeep, KellgrenError
from kellgren.library_messages import silence_dicom_loggers

SOME_FAILED, USAGE, MODEL_MISSING, NOTHING_GRADED, INTERRUPTED = 1, 2, 3, 4, 130

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
app.add_typer(data.app, name="data")
train.app.command(name="choose", epilog=choose.EXAMPLES)(choose.choose)
train.app.command(name="publish", epilog=choose.PUBLISHING)(choose.publish)
pack.register(train.app, data.app)
app.add_typer(train.app, name="train")
app.add_typer(bundle.app, name="bundle")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kellgren {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="And stop.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; its errors are one line on standard error and an exit code.

    0 all done, 1 some inputs failed, 2 wrong usage, 3 model missing or damaged, 4 nothing graded.
    """
    silence_dicom_loggers()
    try:
        app()  # answers wrong usage, broken pipes and Ctrl-C by itself, with an exit code
    except SystemExit as end:
        if end.code == INTERRUPTED:
            _tell(
                "interrupted: what was finished is kept; --resume goes on from there"
                " (train ensemble does so by itself)"
            )
        raise
    except BundleError as error:
        _tell(f"error: {error}")
        sys.exit(MODEL_MISSING)
    except CannotKeep as error:
        _tell(f"error: {error}")
        sys.exit(SOME_FAILED)
    except KellgrenError as error:
        _tell(f"error: {error}")
        sys.exit(USAGE)
    except OSError as error:
        _tell(f"error: {error.filename or 'file system'}: {error.strerror}")
        sys.exit(SOME_FAILED)


def _tell(message: str) -> None:
    typer.echo(message, err=True)
