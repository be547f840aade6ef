"""The command line: it only translates between people and the packages below."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Annotated

import typer

from kellgren.cli import bundle, data, doctor, evaluate, grade, listen, locate, serve, store
from kellgren.cli.benching import bench
from kellgren.cli.calibrating import calibrate
from kellgren.cli.manners.endings import endings
from kellgren.cli.manners.help_pages import make_helpful
from kellgren.cli.plain_text import (
    open_closed_streams,
    show_any_text,
    show_own_warnings_plainly,
)
from kellgren.cli.training import choose, pack, reproduce, train
from kellgren.cli.watching import watch
from kellgren.libraries import silence_dicom_loggers

app = typer.Typer(
    name="kellgren",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Kellgren-Lawrence grades of knee X-rays. Research software, not a medical device.",
    epilog="Start here: [bold]kellgren grade examples --overlay overlays[/bold]",
)
app.command(name="grade", epilog=grade.EXAMPLES)(grade.grade)
app.command(name="locate", epilog=locate.EXAMPLES)(locate.locate)
app.command(name="evaluate", epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command(name="calibrate", epilog=calibrate.EXAMPLES)(calibrate.calibrate)
app.command(name="watch", epilog=watch.EXAMPLES)(watch.watch)
app.command(name="serve", epilog=serve.EXAMPLES)(serve.serve)
app.command(name="listen", epilog=listen.EXAMPLES)(listen.listen)
app.add_typer(store.app, name="store")
app.command(name="bench", epilog=bench.EXAMPLES)(bench.bench)
app.command(name="doctor", epilog=doctor.EXAMPLES)(doctor.doctor)
app.add_typer(data.app, name="data")
train.app.command(name="choose", epilog=choose.EXAMPLES)(choose.choose)
train.app.command(name="publish", epilog=choose.PUBLISHING)(choose.publish)
pack.register(train.app, data.app)
reproduce.register(train.app)
app.add_typer(train.app, name="train")
app.add_typer(bundle.app, name="bundle")
make_helpful(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(
            f"kellgren {version('kellgren')}, with Python {platform.python_version()} on "
            f"{platform.system()} {platform.machine()}"
        )
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
    open_closed_streams()
    show_any_text()
    show_own_warnings_plainly()
    with endings():
        app(
            prog_name="kellgren"
        )  # handles wrong usage, broken pipes and Ctrl-C by itself, with an exit code
