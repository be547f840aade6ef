"""Fetch the page's vendored library again from the package registry that npm is set up for.

    python scripts/refresh_assets.py [VERSION]          # OpenSeadragon, into the package
    python scripts/refresh_assets.py --axe FOLDER       # axe-core, for the accessibility test

Only files named here are taken out of the archives, by name and without their folders.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

STATIC = Path(__file__).parents[1] / "src" / "kellgren" / "web" / "static"
OPENSEADRAGON = {
    "package/build/openseadragon/openseadragon.min.js": "openseadragon.min.js",
    "package/LICENSE.txt": "openseadragon.LICENSE.txt",
}
AXE = {"package/axe.min.js": "axe.min.js"}


def fetch(package: str, wanted: dict[str, str], folder: Path) -> dict[str, str]:
    """Put files of a package into a folder; its version and each file's SHA-256."""
    with tempfile.TemporaryDirectory() as scratch:
        packed = subprocess.run(
            ["npm", "pack", "--json", package],
            cwd=scratch,
            check=True,
            capture_output=True,
            text=True,
        )
        [about] = json.loads(packed.stdout)
        facts = {"name": about["name"], "version": about["version"]}
        with tarfile.open(Path(scratch) / about["filename"]) as archive:
            for member, name in wanted.items():
                stream = archive.extractfile(member)
                assert stream is not None, member
                content = stream.read()
                (folder / name).write_bytes(content)
                facts[name] = hashlib.sha256(content).hexdigest()
    return facts


def main() -> None:
    """Refresh what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", nargs="?", default="latest")
    parser.add_argument("--axe", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    if options.axe is not None:
        print(fetch("axe-core", AXE, options.axe))
        return
    facts = fetch(f"openseadragon@{options.version}", OPENSEADRAGON, STATIC)
    facts["licence"] = "BSD-3-Clause"
    (STATIC / "vendored.json").write_text(json.dumps(facts, indent=2) + "\n")
    print(facts)


if __name__ == "__main__":
    main()
