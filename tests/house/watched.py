"""Processes whose traffic is written down, in a fresh home and a temporary folder of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

# In every Python process: who is connected to, sent to, or looked up by name.
_HOOK = """
import os, sys

def _watch(event, arguments):
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
    elif event == "socket.getaddrinfo":
        address = (arguments[0],)
    else:
        return
    if isinstance(address, tuple):  # not the path of a local socket
        with open(os.environ["WATCHED_LOG"], "a") as log:
            log.write(f"{event} {address[0]}\\n")

sys.addaudithook(_watch)
"""
# The address of no machine, as one binds to, stands for this one when one connects to it.
_HERE = re.compile(r"(\D127\.\d+\.\d+\.\d+|\D0\.0\.0\.0|[ \"]::1?|localhost|None| )(\"|$)")
_STEERING = re.compile(r"XDG_.*|ORT_.*|MPL.*|.*_proxy|CI|HF_.*|TORCH_HOME", re.IGNORECASE)


def strace() -> list[str]:
    """The words that run a command under strace, its process as the direct child; or none."""
    words = [
        "strace",
        "-D",
        "-f",
        "-qq",
        "--seccomp-bpf",
        "-e",
        "trace=connect,sendto,sendmsg,sendmmsg",
    ]
    if shutil.which("strace") is None:
        return []
    works = subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0
    return words if works else []


@dataclass(frozen=True)
class Watch:
    """What was left behind and sent, by all that ran since."""

    home: Path
    temporary: Path
    log: Path
    system_calls: Path

    def files(self) -> list[str]:
        """Everything in the home and the temporary folder."""
        found = [*self.home.rglob("*"), *self.temporary.rglob("*")]
        return [str(path) for path in found]

    def sent(self) -> list[str]:
        """Addresses beyond this machine, as Python or, where strace is, the system saw them."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        for path in self.system_calls.parent.glob(f"{self.system_calls.name}*"):
            calls = path.read_text(errors="replace").splitlines()
            lines += [call for call in calls if "AF_INET" in call and "_addr" in call]
        return [line for line in lines if not _HERE.search(line)]


def watch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """From here on, child processes have a fresh home, and write down whom they talk to."""
    made = Watch(folder / "home", folder / "temporary", folder / "python.log", folder / "calls.log")
    hooks = folder / "hooks"
    for one in (made.home, made.temporary, hooks):
        one.mkdir()
    (hooks / "sitecustomize.py").write_text(_HOOK)
    for name in [name for name in os.environ if _STEERING.fullmatch(name)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(made.home))
    monkeypatch.setenv("KELLGREN_HOME", str(folder / "kellgren"))
    monkeypatch.setenv("TMPDIR", str(made.temporary))
    monkeypatch.setenv("WATCHED_LOG", str(made.log))
    monkeypatch.setenv("PYTHONPATH", str(hooks), prepend=os.pathsep)
    return made
