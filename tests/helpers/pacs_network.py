"""A picture network for tests: films, a peer that keeps answers, Orthanc, `kellgren listen`."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from highdicom import sr
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, evt

from command_line import EXAMPLES, ROOT, command, environment
from dicom_factory import write_dicom
from dicom_headers import DX, complete
from kellgren.pacs.spool import Spool

PATIENCE = 120  # seconds: only a hang takes so long, however busy the machine
STUDY_ROOT = "1.2.826.0.1.3680043.8.498.77"
ORTHANC_EXAMPLES = EXAMPLES / "orthanc"


def write_films(folder: Path, pixels: np.ndarray, number: int, **elements: Any) -> list[Path]:
    """DX films of one knee each, every one of its own study."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        write_dicom(
            folder / f"{one}.dcm",
            pixels,
            bits=12,
            **complete(DX)
            | {
                "StudyInstanceUID": f"{STUDY_ROOT}.{one}",
                "SeriesInstanceUID": f"{STUDY_ROOT}.{one}.1",
                "SOPInstanceUID": f"{STUDY_ROOT}.{one}.1.1",
                "PatientID": f"CANARY-{one}",
            }
            | elements,
        )
        for one in range(1, number + 1)
    ]


def send(
    port: int,
    datasets: Sequence[Path | Dataset],
    tls: tuple[ssl.SSLContext, str] | None = None,
) -> list[int]:
    """C-STORE each; the statuses, 0xFFFF where there was no answer."""
    station = AE("SENDER")
    for path in datasets:
        made = path if isinstance(path, Dataset) else dcmread(path, stop_before_pixels=True)
        station.add_requested_context(made.SOPClassUID, made.file_meta.TransferSyntaxUID)
    association = station.associate("127.0.0.1", port, ae_title="ANYONE", tls_args=tls)
    assert association.is_established
    statuses = []
    for path in datasets:
        try:
            statuses.append(association.send_c_store(path).get("Status", 0xFFFF))
        except RuntimeError:  # the association has ended
            statuses.append(0xFFFF)
    association.release()
    return statuses


def eventually(done: Callable[[], bool]) -> bool:
    """Whether something comes true while patience lasts."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if done():
            return True
        time.sleep(0.05)
    return False


def report_texts(report: Dataset, name: str) -> list[str]:
    """All text values under one name, wherever they stand in a report."""
    found = []
    for item in report.get("ContentSequence", []):
        if item.ValueType == "TEXT" and item.ConceptNameCodeSequence[0].CodeMeaning == name:
            found.append(item.TextValue)
        found += report_texts(item, name)
    return found


def sides_of(report: Dataset) -> list[str]:
    """Of the report's knees, from the film's left to its right; empty: none is stated."""
    content = sr.MeasurementReport.from_sequence([report])
    found = []
    for group in content.get_planar_roi_measurement_groups():
        (site,) = group.finding_sites
        column = float(group.roi.value[:, 0].mean())
        found.append((column, "" if site.laterality is None else site.laterality.meaning))
    return [side for _, side in sorted(found)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Identity:
    """A certificate and its key."""

    certificate: Path
    key: Path


def signed(folder: Path, name: str, authority: Identity | None = None) -> Identity:
    """A certificate for a name on this machine, signed by an authority or by itself."""
    made = Identity(folder / f"{name}.pem", folder / f"{name}.key")
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    words += ["-nodes", "-days", "2", "-subj", f"/CN={name}"]
    words += ["-keyout", str(made.key), "-out", str(made.certificate)]
    if authority is not None:
        words += ["-CA", str(authority.certificate), "-CAkey", str(authority.key)]
        words += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:archive.example"]
        words += ["-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run(words, check=True, capture_output=True)
    return made


class Identities:
    """An authority, and what it signed for the station and for the archive."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.authority = signed(folder, "authority")
        self.station = signed(folder, "station", self.authority)
        self.archive = signed(folder, "archive", self.authority)

    @property
    def options(self) -> list[str]:
        """Of `kellgren listen`, for TLS with certificates on both sides, both ways."""
        certificate, key = str(self.station.certificate), str(self.station.key)
        authority = str(self.authority.certificate)
        incoming = ["--tls-certificate", certificate, "--tls-key", key, "--tls-clients", authority]
        outgoing = ["--answer-certificate", certificate, "--answer-key", key]
        return [*incoming, *outgoing, "--answer-ca", authority]


class AnswerPeer:
    """A storage SCP that keeps what it gets: ``(film, kind, identifier, hash)`` in that order."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.got: list[tuple[str, str, str, str]] = []
        self.kept: list[Dataset] = []
        self.refused: set[str] = set()
        station = AE("ARCHIVE")
        station.supported_contexts = AllStoragePresentationContexts
        self._station = station
        self._server: Any = station.start_server(
            ("127.0.0.1", 0),
            block=False,
            evt_handlers=[(evt.EVT_C_STORE, self._store)],
            ssl_context=tls,
        )
        self.address = f"127.0.0.1:{self._server.server_address[1]}/ARCHIVE"

    def ask_for_its_title(self) -> None:
        """Reject callers that call it by another title."""
        self._station.require_called_aet = True

    def _store(self, event: evt.Event) -> int:
        made = event.dataset
        if made.SOPInstanceUID in self.refused:
            return 0xC000
        content = hashlib.sha256(event.encoded_dataset(include_meta=False)).hexdigest()
        self.got.append((made.StudyInstanceUID, made.Modality, made.SOPInstanceUID, content))
        self.kept.append(made)
        return 0x0000

    def close(self) -> None:
        self._server.shutdown()


class Talking:
    """A process whose lines on standard error are kept."""

    def __init__(self, words: Sequence[str]) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            words, stderr=subprocess.PIPE, text=True, env=environment()
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line.rstrip("\n"))

    @property
    def process(self) -> int:
        """Its number."""
        return self._process.pid

    def kill(self) -> None:
        """As a power cut would."""
        self._process.send_signal(signal.SIGKILL)
        self._end()

    def stop(self) -> int:
        """As a service manager would; the exit code."""
        self._process.terminate()
        return self._end()

    def _end(self) -> int:
        code = self._process.wait(PATIENCE)
        self._reader.join()
        assert self._process.stderr is not None
        self._process.stderr.close()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.kill()


class Listening(Talking):
    """`kellgren listen` in a process of its own."""

    def __init__(self, spool: Path, answer_to: str, port: int, *more: str) -> None:
        words = ["listen", "--port", str(port), "--answer-to", answer_to, "--spool", str(spool)]
        super().__init__(command(*words, *more))
        assert eventually(lambda: any("listening at" in line for line in self.lines)), self.lines


class Routing(Talking):
    """The how-to page's script that sends an Orthanc's new films to the station."""

    def __init__(self, url: str, state: Path) -> None:
        script = str(ORTHANC_EXAMPLES / "route_films.py")
        given = ["--orthanc", url, "--to", "kellgren", "--state", str(state), "--since", "0"]
        super().__init__([sys.executable, script, *given])


def documented_settings() -> dict[str, Any]:
    """What docs/how-to/connect-a-pacs.md adds to Orthanc's configuration."""
    page = (ROOT / "docs" / "how-to" / "connect-a-pacs.md").read_text("utf-8")
    settings: dict[str, Any] = json.loads(page.split("```json\n")[1].split("```")[0])
    return settings


class Orthanc:
    """A real Orthanc with an empty archive, set up as the how-to page has it."""

    def __init__(
        self, folder: Path, kellgren_port: int, identities: Identities | None = None
    ) -> None:
        self.dicom_port, http_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{http_port}"
        folder.mkdir(parents=True)
        settings = documented_settings()
        title, host, _ = settings["DicomModalities"]["kellgren"]
        station = {"AET": title, "Host": host, "Port": kellgren_port}
        settings["DicomModalities"]["kellgren"] = station
        if identities is not None:
            station["UseDicomTls"] = True
            settings |= {
                "DicomTlsEnabled": True,
                "DicomTlsCertificate": str(identities.archive.certificate),
                "DicomTlsPrivateKey": str(identities.archive.key),
                "DicomTlsTrustedCertificates": str(identities.authority.certificate),
                "DicomTlsRemoteCertificateRequired": True,
            }
        settings |= {
            "StorageDirectory": str(folder / "archive"),
            "IndexDirectory": str(folder / "archive"),
            "HttpPort": http_port,
            "DicomPort": self.dicom_port,
            "Plugins": [],
        }
        self._settings = folder / "orthanc.json"
        self._settings.write_text(json.dumps(settings))
        self.start()

    def start(self) -> None:
        """Start it, or start it again."""
        self._process = subprocess.Popen(
            ["Orthanc", self._settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        assert eventually(self._is_up)

    def kill(self) -> None:
        """As a power cut would."""
        self._process.kill()
        self._process.wait(PATIENCE)

    def _is_up(self) -> bool:
        try:
            self.ask("/system")
        except OSError:
            return False
        return True

    def ask(self, path: str, data: bytes | None = None) -> Any:
        with urllib.request.urlopen(self.url + path, data) as reply:
            return json.load(reply)

    def upload(self, film: Path) -> None:
        self.ask("/instances", film.read_bytes())

    def identifiers(self) -> dict[str, list[tuple[str, str]]]:
        """For each study its objects' modality and SOP instance, films included."""
        found: dict[str, list[tuple[str, str]]] = {}
        for series in self.ask("/series?expand"):
            study = self.ask(f"/series/{series['ID']}/study")["MainDicomTags"]["StudyInstanceUID"]
            for instance in self.ask(f"/series/{series['ID']}/instances?expand"):
                uid = instance["MainDicomTags"]["SOPInstanceUID"]
                modality = series["MainDicomTags"]["Modality"]
                found.setdefault(study, []).append((modality, uid))
        return found

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)


@contextmanager
def orthanc(
    folder: Path, kellgren_port: int, identities: Identities | None = None
) -> Iterator[Orthanc]:
    server = Orthanc(folder, kellgren_port, identities)
    try:
        yield server
    finally:
        server.close()


def has_orthanc() -> bool:
    return shutil.which("Orthanc") is not None


def received(spool: Spool, key: str, content: bytes) -> bool:
    """Have a spool receive a film, as it comes in from the network; whether it is new."""
    part = spool.new_part()
    part.write_bytes(content)
    return spool.receive(key, part)
