"""What a release is made of, as a CycloneDX document: libraries, the page's script, the models.

    python scripts/make_sbom.py kellgren.cdx.json [--extra fast]

The libraries and the SHA-256 of each of their files come from the lock, by `uv export`; licences
from what is installed here; the rest from the package itself. Equal trees give equal documents.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any

from kellgren.artefacts import file_checksum
from kellgren.atomic_files import written_whole

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "kellgren"
STATIC = PACKAGE / "web" / "static"
Component = dict[str, Any]


def sbom(extras: list[str]) -> dict[str, Any]:
    """The document.

    Args:
        extras: of the package, whose libraries are listed too.
    """
    document: dict[str, Any] = json.loads(_exported(extras))
    document["components"] = [
        *(_licensed(component) for component in document["components"]),
        *_page_libraries(),
        *_networks(),
    ]
    about = document["metadata"]
    about.pop("timestamp", None)
    _licensed(about["component"])
    document.pop("serialNumber", None)
    text = json.dumps(document, sort_keys=True)
    serial = uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16], version=4)
    return {"serialNumber": f"urn:uuid:{serial}"} | document


def _exported(extras: list[str]) -> bytes:
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"
    options = [option for extra in extras for option in ("--extra", extra)]
    lock = ["--frozen", "--offline", "--no-dev", "--directory", str(ROOT)]
    command = [uv, "export", "-q", *lock, *options, "--format", "cyclonedx1.5"]
    return subprocess.run(command, check=True, capture_output=True).stdout


def _licensed(component: Component) -> Component:
    """The component with its licence, where it is installed here and states one in one line."""
    try:
        about = metadata.metadata(component["name"])
    except metadata.PackageNotFoundError:
        return component
    expression, name = about.get("License-Expression"), about.get("License") or ""
    classifiers = about.get_all("Classifier") or []
    stated = [c.rpartition(" :: ")[2] for c in classifiers if c.startswith("License :: ")]
    if expression:
        component["licenses"] = [{"expression": expression}]
    elif stated:
        component["licenses"] = [{"license": {"name": licence}} for licence in stated]
    elif name and "\n" not in name:
        component["licenses"] = [{"license": {"name": name}}]
    return component


def _page_libraries() -> list[Component]:
    about = json.loads((STATIC / "vendored.json").read_text("utf-8"))
    return [
        {
            "type": "library",
            "bom-ref": f"page-{about['name']}@{about['version']}",
            "name": about["name"],
            "version": about["version"],
            "purl": f"pkg:npm/{about['name']}@{about['version']}",
            "licenses": [{"license": {"id": about["licence"]}}],
            "components": [_file(path) for path in sorted(STATIC.iterdir()) if path.name in about],
        }
    ]


def _networks() -> list[Component]:
    """Every network of the package."""
    version = metadata.version("kellgren")
    return [
        _file(path) | {"type": "machine-learning-model", "version": version}
        for path in sorted((PACKAGE / "models").rglob("*.onnx"))
    ]


def _file(path: Path) -> Component:
    name = path.relative_to(PACKAGE).as_posix()
    hashes = [{"alg": "SHA-256", "content": file_checksum(path)}]
    return {"type": "file", "bom-ref": name, "name": name, "hashes": hashes}


def main() -> None:
    """Write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--extra", action="append", default=[], dest="extras")
    arguments = parser.parse_args()
    with written_whole(arguments.out) as stream:
        stream.write(json.dumps(sbom(arguments.extras), indent=2) + "\n")


if __name__ == "__main__":
    main()
