"""What is installed and shipped: every file by its SHA-256, and a list of all parts."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest

from kellgren.artefacts import file_checksum

ROOT = Path(__file__).parents[2]
SBOM = runpy.run_path(str(ROOT / "scripts" / "make_sbom.py"))["sbom"]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = SBOM([])
    return found


@pytest.fixture(scope="module")
def lock() -> dict[tuple[str, str], set[str]]:
    """The SHA-256 of the files of each name and version."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))["package"]
    return {
        (package["name"], package["version"]): {
            file["hash"].removeprefix("sha256:")
            for file in [*package.get("wheels", []), package.get("sdist")]
            if file is not None
        }
        for package in packages
    }


def test_every_library_is_listed_with_the_hashes_of_the_lock(
    document: dict[str, Any], lock: dict[tuple[str, str], set[str]]
) -> None:
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.5")
    libraries = [c for c in document["components"] if c.get("purl", "").startswith("pkg:pypi/")]
    for library in libraries:
        files = {
            digest["content"]
            for reference in library["externalReferences"]
            for digest in reference.get("hashes", [])
        }
        assert files
        assert files == lock[library["name"], library["version"]]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    direct = {re.match(r"[\w.-]+", entry)[0] for entry in project["dependencies"]}  # type: ignore[index]
    assert direct <= {library["name"] for library in libraries}
    assert document["metadata"]["component"]["version"] == project["version"]
    assert not {"torch", "pytest", "openvino"} & {library["name"] for library in libraries}
    assert "openvino" in {part["name"] for part in SBOM(["fast"])["components"]}


def test_what_lies_in_the_package_is_listed_too(document: dict[str, Any]) -> None:
    package = ROOT / "src" / "kellgren"
    parts = {part["name"]: part for part in document["components"]}
    networks = {path.relative_to(package).as_posix() for path in package.rglob("*.onnx")}
    assert len(networks) == 6
    assert networks == {n for n, p in parts.items() if p["type"] == "machine-learning-model"}
    page = parts["openseadragon"]
    assert page["licenses"] == [{"license": {"id": "BSD-3-Clause"}}]
    assert len(page["components"]) == 2
    for part in [*(parts[name] for name in networks), *page["components"]]:
        assert part["hashes"][0]["content"] == file_checksum(package / part["name"])


def test_equal_trees_give_equal_lists(document: dict[str, Any]) -> None:
    assert SBOM([]) == document
    assert "timestamp" not in document["metadata"]
    references = [part["bom-ref"] for part in document["components"]]
    assert len(set(references)) == len(references)


def test_the_build_tools_are_pinned_by_their_hashes() -> None:
    text = (ROOT / "scripts" / "build_tools.txt").read_text("utf-8").replace("\\\n", " ")
    tools = [line for line in text.splitlines() if line and not line.startswith("#")]
    for tool in tools:
        assert re.fullmatch(r"[a-z-]+==[\w.]+( +--hash=sha256:[0-9a-f]{64})+", tool)
    assert {"hatchling", "uv"} <= {tool.partition("==")[0] for tool in tools}
    backend = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]
    assert backend["requires"] == ["hatchling"]


def test_the_container_installs_by_the_lock_and_by_nothing_else() -> None:
    steps = (ROOT / "Containerfile").read_text("utf-8")
    code = "\n".join(line for line in steps.splitlines() if not line.startswith("#"))
    assert "RUN scripts/locked_install.sh /opt/kellgren" in code
    assert "uv.lock" in code
    assert "pip" not in code
    script = (ROOT / "scripts" / "locked_install.sh").read_text("utf-8")
    installs = re.findall(r"pip\" install .*", script)
    assert len(installs) == 2
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)
