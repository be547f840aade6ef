"""`kellgren listen`."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kellgren.cli.inputs import AlwaysGrade, Fast, ModelFolder, SetLevel, chosen_bundle

if TYPE_CHECKING:
    import ssl

    from kellgren.ensemble import Ensemble
    from kellgren.pacs.callers import Access
    from kellgren.pacs.sender import Peer

_LOOK_S = 0.5
EXAMPLES = (
    "kellgren listen --port 11112 --answer-to 127.0.0.1:4242/ORTHANC · "
    "kellgren listen --host 10.1.2.20 --answer-to 10.1.2.3:104/PACS --allow-calling PACS "
    "--allow-called KELLGREN --allow-address 10.1.2.3 · "
    "kellgren listen --answer-to pacs.example:2762/PACS --tls-certificate own.pem "
    "--tls-key own.key --tls-clients hospital.pem --answer-ca hospital.pem · "
    "kellgren listen --status --spool spool"
)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


Spool = Annotated[
    Path | None, typer.Option(help="Folder of waiting films; default: spool in KELLGREN_HOME.")
]
Status = Annotated[
    bool, typer.Option("--status", help="Print how many films are in the spool, and stop.")
]
Refusals = Annotated[
    bool,
    typer.Option(
        "--refusals",
        help="Answer a film that is refused with a report that says so; default: no answer.",
    ),
]
Calling = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-calling",
        metavar="AET",
        help="Only callers of this AE title may send films; repeatable. Default: all.",
    ),
]
Called = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-called",
        metavar="AET",
        help="Only callers that call this station so may; repeatable. Default: by any AE title.",
    ),
]
Addresses = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-address",
        metavar="NETWORK",
        help="Only callers from this address or network (10.1.2.0/24) may; repeatable. "
        "Default: all.",
    ),
]


def _pem(name: str, text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(name, metavar="PEM", help=text)
    return option


Certificate = Annotated[
    Path | None, _pem("--tls-certificate", "Take films over TLS alone, with this certificate.")
]
Key = Annotated[Path | None, _pem("--tls-key", "Key of --tls-certificate, without a password.")]
Clients = Annotated[
    Path | None,
    _pem("--tls-clients", "Callers need a certificate that one of these authorities signed."),
]
AnswerCa = Annotated[
    Path | None,
    _pem("--answer-ca", "Answer over TLS, to a certificate that one of these signed."),
]
AnswerCertificate = Annotated[
    Path | None, _pem("--answer-certificate", "Certificate to show where answers go.")
]
AnswerKey = Annotated[
    Path | None, _pem("--answer-key", "Key of --answer-certificate, without a password.")
]
AnswerName = Annotated[
    str,
    typer.Option(
        "--answer-name",
        metavar="NAME",
        help="Name in the certificate there; default: the HOST of --answer-to.",
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
    spool: Spool = None,
    model: ModelFolder = None,
    fast: Fast = False,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Films graded at the same time.")] = 1,
    refusals: Refusals = False,
    allow_calling: Calling = None,
    allow_called: Called = None,
    allow_address: Addresses = None,
    tls_certificate: Certificate = None,
    tls_key: Key = None,
    tls_clients: Clients = None,
    answer_ca: AnswerCa = None,
    answer_certificate: AnswerCertificate = None,
    answer_key: AnswerKey = None,
    answer_name: AnswerName = "",
    level: SetLevel = 0.9,
    always_grade: AlwaysGrade = False,
    status: Status = False,
) -> None:
    """Grade the CR and DX films that a picture archive sends, and send it the answers.

    DICOM has no passwords: where others reach the port, say who may call, and use TLS. A film that
    was acknowledged is kept if the process dies; the spool holds patients' films until their
    results are sent.
    """
    folder = spool or _default_spool()
    if status:
        _show_counts(folder)
        return
    if answer_to is None:
        raise typer.BadParameter("name the node that gets the results: --answer-to HOST:PORT/AET")
    access = _access(ae_title, allow_calling or [], allow_called or [], allow_address or [])
    tls = _tls(tls_certificate, tls_key, tls_clients)
    peer = _peer(answer_to, answer_ca, answer_certificate, answer_key, answer_name)
    _warn(host, access, tls)
    ensemble = _ensemble(chosen_bundle(model, fast), workers, level, always_grade)
    _run(ensemble, folder, peer, (host, port), ae_title, workers, refusals, access, tls)


def _ensemble(bundle: Path, workers: int, level: float, always_grade: bool) -> Ensemble:
    from kellgren.ensemble import Ensemble

    threads = 1 if workers > 1 else 0
    return Ensemble.open(bundle, threads=threads, level=level, always_grade=always_grade)


def _run(
    ensemble: Ensemble,
    folder: Path,
    peer: Peer,
    address: tuple[str, int],
    ae_title: str,
    workers: int,
    refusals: bool,
    access: Access,
    tls: ssl.SSLContext | None,
) -> None:
    from kellgren.imaging.decoding_child import decoding_in_child
    from kellgren.pacs.station import Station

    # pydicom's warnings quote header values; they can be silenced for a whole process only.
    warnings.simplefilter("ignore")
    stopped = threading.Event()
    with (
        decoding_in_child(),
        Station(
            ensemble,
            folder,
            peer,
            address=address,
            ae_title=ae_title,
            workers=workers,
            refusals=refusals,
            report=_report,
            access=access,
            tls=tls,
        ) as station,
    ):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        over = "" if tls is None else " over TLS"
        listening = f"listening at {address[0]}:{station.port} as {ae_title}{over}"
        _report(f"{listening}; answers go to {peer}{'' if peer.tls is None else ' over TLS'}")
        # The system may hand a signal to any thread; its handler runs once this one wakes.
        while not stopped.wait(_LOOK_S):
            pass
        _report("stopping: films that are being graded are finished first")


def _access(ae_title: str, calling: list[str], called: list[str], addresses: list[str]) -> Access:
    from kellgren.pacs.callers import Access, parse_networks
    from kellgren.pacs.sender import is_title

    for name, titles in (
        ("--ae-title", [ae_title]),
        ("--allow-calling", calling),
        ("--allow-called", called),
    ):
        if not all(map(is_title, titles)):
            raise typer.BadParameter(f"{name} has 1 to 16 ASCII characters and no backslash")
    who, whom = (frozenset(title.strip() for title in titles) for titles in (calling, called))
    return Access(who, whom, parse_networks(addresses))


def _tls(certificate: Path | None, key: Path | None, clients: Path | None) -> ssl.SSLContext | None:
    from kellgren.pacs.tls import server_context, shown_problem

    if certificate is None and key is None and clients is None:
        return None
    if certificate is None or key is None:
        raise typer.BadParameter("TLS needs both --tls-certificate and --tls-key")
    made = server_context(certificate, key, clients)
    if problem := shown_problem(certificate, key):
        _report(f"warning: {certificate}: {problem}; callers that check it will refuse it")
    return made


def _peer(
    answer_to: str, ca: Path | None, certificate: Path | None, key: Path | None, name: str
) -> Peer:
    from dataclasses import replace

    from kellgren.pacs.sender import Peer
    from kellgren.pacs.tls import client_context

    peer = Peer.parse(answer_to)
    if ca is None:
        if certificate or key or name:
            raise typer.BadParameter("answers go over TLS with --answer-ca alone")
        return peer
    return replace(peer, tls=client_context(ca, certificate, key), name=name)


def _warn(host: str, access: Access, tls: ssl.SSLContext | None) -> None:
    from ssl import CERT_REQUIRED

    if host in _LOOPBACK:
        return
    if not access.networks and (tls is None or tls.verify_mode != CERT_REQUIRED):
        _report(
            f"warning: {host} is open to other machines, and DICOM has no passwords; "
            "--allow-address or --tls-clients says who may call"
        )
    if tls is None:
        _report("warning: films and answers are not encrypted without --tls-certificate")


def _show_counts(folder: Path) -> None:
    from kellgren.pacs.spool import counts

    typer.echo(", ".join(f"{name} {number}" for name, number in counts(folder).items()))


def _report(line: str) -> None:
    typer.echo(line, err=True)
