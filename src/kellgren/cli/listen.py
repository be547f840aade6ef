"""`kellgren listen`."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kellgren.ensemble import Ensemble

EXAMPLES = (
    "kellgren listen --port 11112 --answer-to 127.0.0.1:4242/ORTHANC · "
    "kellgren listen --status --spool spool"
)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


Refusals = Annotated[
    bool,
    typer.Option(
        "--refusals",
        help="Answer a film that is refused with a report that says so; default: no answer.",
    ),
]


def _default_spool() -> Path:
    return Path(os.environ.get("KELLGREN_HOME") or "~/.kellgren").expanduser() / "spool"


def listen(
    answer_to: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT/AET", help="DICOM node that gets the results, by C-STORE."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 11112,
    host: Annotated[
        str, typer.Option(help="Address to listen on; no other machine reaches the default.")
    ] = "127.0.0.1",
    ae_title: Annotated[str, typer.Option(help="AE title of this station.")] = "KELLGREN",
    spool: Annotated[
        Path | None,
        typer.Option(help="Folder of waiting films.  [default: spool in KELLGREN_HOME]"),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(envvar="KELLGREN_MODEL", help="Folder of another bundle.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Films graded at the same time.")] = 1,
    refusals: Refusals = False,
    status: Annotated[
        bool, typer.Option("--status", help="Print how many films are in the spool, and stop.")
    ] = False,
) -> None:
    """Grade the CR and DX films that a picture archive sends, and send it the answers.

    DICOM has no passwords: anyone who reaches the port can send films. A film that was acknowledged
    is kept if the process dies; the spool holds patients' films until their results are sent.
    """
    folder = spool or _default_spool()
    if status:
        _show_counts(folder)
        return
    if answer_to is None:
        raise typer.BadParameter("name the node that gets the results: --answer-to HOST:PORT/AET")
    _check_station(ae_title, host)
    from kellgren.pacs.sender import Peer
    from kellgren.pacs.station import Station

    # pydicom's warnings quote header values; they can be silenced for a whole process only.
    warnings.simplefilter("ignore")
    peer = Peer.parse(answer_to)
    ensemble = _ensemble(model, workers)
    stopped = threading.Event()
    with Station(
        ensemble,
        folder,
        peer,
        address=(host, port),
        ae_title=ae_title,
        workers=workers,
        refusals=refusals,
        report=_report,
    ) as station:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        _report(f"listening at {host}:{station.port} as {ae_title}; answers go to {answer_to}")
        stopped.wait()
        _report("stopping: films that are being graded are finished first")


def _ensemble(model: Path | None, workers: int) -> Ensemble:
    """The model, in a process that from now on decodes strangers' films in children only."""
    from kellgren.ensemble import Ensemble
    from kellgren.grading.bundle import default_bundle
    from kellgren.imaging.decoding_child import decode_in_child

    decode_in_child()
    return Ensemble.open(model or default_bundle(), threads=1 if workers > 1 else 0)


def _check_station(ae_title: str, host: str) -> None:
    from kellgren.pacs.sender import is_title

    if not is_title(ae_title):
        raise typer.BadParameter("--ae-title has 1 to 16 ASCII characters and no backslash")
    if host not in _LOOPBACK:
        _report(f"warning: {host} is open to other machines, and DICOM has no passwords")


def _show_counts(folder: Path) -> None:
    from kellgren.pacs.spool import counts

    typer.echo(", ".join(f"{name} {number}" for name, number in counts(folder).items()))


def _report(line: str) -> None:
    typer.echo(line, err=True)
