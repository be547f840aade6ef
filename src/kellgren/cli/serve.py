"""`kellgren serve`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from kellgren.cli.inputs import Fast, ModelFolder

EXAMPLES = (
    "kellgren serve · kellgren serve --port 9000 --store films · "
    "KELLGREN_TOKEN=... kellgren serve --host 0.0.0.0 --allow-host films.example.org"
)

RootPath = Annotated[
    str, typer.Option(help="Path below which a proxy shows the server, such as /knees.")
]
KeepDays = Annotated[
    float | None,
    typer.Option(min=0.01, help="Delete answered cases, studies' too, after so many days."),
]
MaxGb = Annotated[
    float | None,
    typer.Option(min=0.01, help="Most GB to keep; the oldest answered cases make room."),
]


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")
    ] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="KELLGREN_TOKEN", help="Token that clients must send; 16 characters or more."
        ),
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="Folder for films and results; default: in KELLGREN_HOME.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, max=64, help="Grader processes; 0: one per processor core.")
    ] = 0,
    queue: Annotated[int, typer.Option(min=1, max=100_000, help="Most cases that may wait.")] = 512,
    model: ModelFolder = None,
    fast: Fast = False,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Host name to accept, beside the address.")
    ] = None,
    keep_names: Annotated[
        bool, typer.Option("--keep-names", help="Keep file names; they may name patients.")
    ] = False,
    root_path: RootPath = "",
    keep_days: KeepDays = None,
    max_gb: MaxGb = None,
) -> None:
    """Run the reading room: a web page and an API on this machine."""
    from kellgren.cli.inputs import chosen_bundle, cores
    from kellgren.home import data_folder
    from kellgren.web.server import CannotServe, run
    from kellgren.web.settings import Limits, Settings, answered_hosts

    _check_access(host, token)
    root = root_path.rstrip("/")
    if root and not re.fullmatch(r"(/[\w.~-]+)+", root, re.ASCII):
        raise typer.BadParameter("is a path such as /knees", param_hint="--root-path")
    settings = Settings(
        store=store or data_folder("reading-room"),
        hosts=frozenset(),
        token=token,
        workers=workers or cores(),
        model=chosen_bundle(model, fast) if fast else model,
        keep_names=keep_names,
        root_path=root,
        keep_days=keep_days,
        max_bytes=None if max_gb is None else int(max_gb * 10**9),
        limits=Limits(queue=queue),
    )
    names = allow_host or []
    _check_names(names)
    try:
        run(settings, host, port, lambda bound: answered_hosts(host, bound, names), _report)
    except CannotServe as refusal:
        raise typer.BadParameter(str(refusal)) from None


def _check_names(names: list[str]) -> None:
    """A name that no request can bear would let nobody in, and nothing would say why."""
    for name in names:
        if not re.fullmatch(r"(\w([\w.-]*\w)?|\[[0-9a-fA-F:.]+\])(:\d{1,5})?", name, re.ASCII):
            raise typer.BadParameter(
                f"{name!r} is no name of a host; write films.example.org, without http:// and path",
                param_hint="--allow-host",
            )


def _check_access(host: str, token: str | None) -> None:
    """Whoever can reach the server must know a token, and one that cannot be guessed."""
    from kellgren.web.settings import MIN_TOKEN_LENGTH, is_loopback

    if token is None and not is_loopback(host):
        raise typer.BadParameter(
            f"{host} can be reached by other machines; set --token or KELLGREN_TOKEN",
            param_hint="--host",
        )
    if token is not None and (len(token) < MIN_TOKEN_LENGTH or not token.isprintable()):
        raise typer.BadParameter(
            f"needs {MIN_TOKEN_LENGTH} printable characters or more", param_hint="--token"
        )


def _report(message: str) -> None:
    typer.echo(message, err=True)
