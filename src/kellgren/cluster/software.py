"""What must be the same on every machine for equal results: code, networks and libraries."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import resources
from importlib.metadata import version
from pathlib import Path

from kellgren.errors import ClusterError
from kellgren.libraries import installed_version

# Those between a film's bytes and its row; the versions of Python and Ray are compared by Ray.
_LIBRARIES = (
    *("imagecodecs", "numpy", "onnxruntime", "openvino", "pillow", "pydantic", "pydicom"),
    "simplejpeg",
)
_ABSENT = "not installed"


def software() -> dict[str, str]:
    """Versions by name; ``code`` is the SHA-256 of the package's modules and cards."""
    return {"kellgren": version("kellgren"), "code": _code()} | {
        name: installed_version(name) or _ABSENT for name in _LIBRARIES
    }


def check_software(here: Mapping[str, str], there: Mapping[str, str], node: str) -> None:
    """Refuse a node that might grade otherwise.

    Args:
        here: `software` of the machine that gives the command.
        there: of the node.
        node: its name, for the message.

    Raises:
        ClusterError: they differ; the message names the first difference.
    """
    for name in here.keys() | there.keys():
        own, other = here.get(name, _ABSENT), there.get(name, _ABSENT)
        if own == other:
            continue
        said = "the code of kellgren differs" if name == "code" else f"has {name} {other}"
        wanted = "" if name == "code" else f", this machine has {own}"
        raise ClusterError(
            f"node {node}",
            f"{said}{wanted}: results might not be the same",
            "Install the same versions on every node; the journal is kept, and --resume goes on",
        )


def _code() -> str:
    root = Path(str(resources.files("kellgren")))
    digest = hashlib.sha256()
    for path in sorted([*root.rglob("*.py"), *root.rglob("card.json")]):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
