"""`kellgren store`: copies of what a server keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kellgren.cli.exit_codes import ExitCode

app = typer.Typer(no_args_is_help=True, help="Back up and restore what `kellgren serve` keeps.")
_Store = Annotated[
    Path | None, typer.Option(help="Folder of the store; default: in KELLGREN_HOME.")
]


@app.command(epilog="kellgren store backup /backups/knees-2026-12-01")
def backup(
    target: Annotated[Path, typer.Argument(help="New folder for the copy.")], store: _Store = None
) -> None:
    """Copy a store, also while a server uses it; films are compared with their checksums."""
    from kellgren.web.storage.backup import back_up

    _report(back_up(store or _default(), target), target)


@app.command(epilog="kellgren store restore /backups/knees-2026-12-01")
def restore(
    source: Annotated[Path, typer.Argument(help="Folder of the backup.")], store: _Store = None
) -> None:
    """Put a backup back while no server runs; the database that is there is set aside."""
    from kellgren.web.storage.backup import restore as put_back

    folder = store or _default()
    _report(put_back(source, folder), folder)


def _default() -> Path:
    from kellgren.home import data_folder

    return data_folder("reading-room")


def _report(copied: Any, folder: Path) -> None:
    typer.echo(f"{copied.cases} cases and {copied.files} files are in {folder}", err=True)
    for digest in copied.missing:
        typer.echo(f"missing or damaged, not copied: {digest}", err=True)
    if copied.missing:
        raise typer.Exit(ExitCode.SOME_FAILED)
