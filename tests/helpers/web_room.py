"""A reading room as tests use it: a real server in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from command_line import PATIENCE, ROOT, command, environment
from kellgren.web.app import Application
from kellgren.web.settings import Settings


@dataclass
class RunningServer:
    """A server that runs."""

    url: str
    process: subprocess.Popen[str]
    log: Path

    def client(self, **options: Any) -> httpx.Client:
        # The address is not of TLS; certificates that nobody asks for take 20 ms to load.
        options = {"trust_env": False, "verify": False, **options}
        return httpx.Client(base_url=self.url, timeout=PATIENCE, **options)

    def kill(self) -> None:
        """kill -9, as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def opened(bundle: Path, folder: Path, **changes: Any) -> Application:
    """The application in this process, without graders: whatever it accepts waits."""
    hosts = frozenset({"testserver"})
    return Application(
        Settings(store=folder / "store", hosts=hosts, workers=0, model=bundle, **changes)
    )


@contextmanager
def reading_room(
    store: Path, model: Path | None, *options: str, port: int = 0, ready: bool = True
) -> Iterator[RunningServer]:
    """Run `kellgren serve` until the block ends.

    Args:
        store: its folder.
        model: its bundle; None: the default one.
        options: of the command line.
        port: to listen on; 0: any.
        ready: wait until a grader is.
    """
    log = store.parent / f"{store.name}.log"
    words = command("serve", "--port", str(port), "--store", store, *options)
    if model is not None:
        words += ["--model", str(model)]
    with log.open("a") as stream:
        began = log.stat().st_size
        process = subprocess.Popen(words, stderr=stream, env=environment(), cwd=ROOT, text=True)
    try:
        room = RunningServer(_url(log, began, process), process, log)
        if ready:
            wait_until_ready(room)
        yield room
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(timeout=PATIENCE)


def _url(log: Path, began: int, process: subprocess.Popen[str]) -> str:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        for word in log.read_text()[began:].split():
            if word.startswith("http://"):
                return word
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def wait_until_ready(room: RunningServer) -> None:
    """Wait for the first grader."""
    deadline = time.monotonic() + PATIENCE
    with room.client() as client:
        while time.monotonic() < deadline:
            try:
                if client.get("/health").json()["graders"]:
                    return
            except httpx.TransportError:
                assert room.process.poll() is None, room.log.read_text()
            time.sleep(0.05)
    raise AssertionError("no grader became ready")


def parts(files: Sequence[Path | tuple[str, bytes]]) -> list[tuple[str, tuple[str, bytes]]]:
    """Files as httpx sends them."""
    return [
        ("files", (file.name, file.read_bytes()) if isinstance(file, Path) else file)
        for file in files
    ]


def hand_in(
    client: httpx.Client, *files: Path | tuple[str, bytes], wait: float = 60, **query: Any
) -> list[dict[str, Any]]:
    """Upload files and wait for their cases."""
    answer = client.post("/api/v1/cases", files=parts(files), params={"wait": wait, **query})
    assert answer.status_code in (200, 202), answer.text
    cases: list[dict[str, Any]] = answer.json()["cases"]
    assert len(cases) == len(files)
    return cases


def children(process: int) -> list[int]:
    """Direct children of a process (Linux)."""
    tasks = Path(f"/proc/{process}/task")
    return [
        int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()
    ]


def graders(process: int) -> list[int]:
    """Those among the children that grade; a test's process has others too (Linux)."""
    return [
        child
        for child in children(process)
        if b"workers.grader" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def alive(process: int) -> bool:
    """Whether a process still runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
