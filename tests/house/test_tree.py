"""The tree keeps its promises: small folders, one direction, and a list of rooms that is true."""

from __future__ import annotations

import ast
import configparser
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

from command_line import ROOT

PACKAGE = ROOT / "src" / "kellgren"
MOST_MODULES = 15
FOLDERS = sorted({path.parent for path in PACKAGE.rglob("*.py")})
TEST_FOLDERS = sorted({path.parent for path in (ROOT / "tests").rglob("*.py")})
GRAPH = grimp.build_graph("kellgren", exclude_type_checking_imports=True, cache_dir=None)
# Where one word is a package's and a module's, or two modules', and means the same in both.
SAME_MEANING = {
    "batch": "many files as one; the module does the work",
    "bundle": "a trained ensemble on disk; its command",
    "campaign": "members x sizes x folds; its command",
    "cases": "what the server was handed in: over HTTP, on disk",
    "data": "graded knees; its command",
    "dicom": "the format: read, written",
    "epochs": "those that a run kept: their files, what they predict; their command",
    "export": "a trained network as a file; of members, of the knee detector",
    "knee_detector": "the network that finds knees: at work, in training",
    "locate": "where the knees of a file lie, without grading; its command",
    "member": "a network of an ensemble: its shape, its training",
    "pack": "what travels to another machine: knees, a campaign; its commands",
    "run": "one training, of a member or of the knee detector",
    "similar": "graded knees that look like one: index, over HTTP",
    "studies": "reading studies: over HTTP, on disk",
    "training": "from graded knees to a bundle; its commands",
}


def listed_rooms() -> str:
    """The table that CONTRIBUTING must hold: every package, and the modules beside them."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / ".importlinter")
    layers = settings["importlinter:contract:layers"]["layers"].split()
    lines = ["| room | what happens there |", "|---|---|"]
    for name in (name for name in layers if name != "|"):
        path = PACKAGE / name
        if path.is_dir():
            for folder in (folder for folder in FOLDERS if folder.is_relative_to(path)):
                lines.append(_row(f"{folder.relative_to(PACKAGE)}/", folder / "__init__.py"))
        elif not name.startswith("__"):
            lines.append(_row(f"{name}.py", path.with_suffix(".py")))
    return "\n".join(lines)


def _row(shown: str, file: Path) -> str:
    said = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    return f"| `{shown}` | {said.splitlines()[0].rstrip('.')} |"


def test_contributing_lists_every_room_in_the_packages_own_words() -> None:
    rooms = listed_rooms()
    packages = [f"`{path.relative_to(PACKAGE)}/`" for path in FOLDERS if path != PACKAGE]
    assert [name for name in packages if name not in rooms] == []
    assert rooms in (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def test_questions_of_newcomers_are_answered_by_paths_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    section = text.split("## Ten questions")[1].split("\n## ")[0]
    answers = re.findall(r"^\| [^|]+\? \| `([^`]+)` \|$", section, re.MULTILINE)
    assert len(answers) == 10
    assert [path for path in answers if not (PACKAGE / path).exists()] == []


@pytest.mark.parametrize("folder", FOLDERS + TEST_FOLDERS, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_folder_is_crowded(folder: Path) -> None:
    modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MOST_MODULES


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_folder_of_sources_is_a_package(folder: Path) -> None:
    assert (folder / "__init__.py").is_file()


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    _sorted({name: GRAPH.find_modules_directly_imported_by(name) for name in GRAPH.modules})


@pytest.mark.parametrize("parent", [it for it in sorted(GRAPH.modules) if GRAPH.find_children(it)])
def test_rooms_do_not_import_each_other_in_a_circle(parent: str) -> None:
    rooms = {room: GRAPH.find_descendants(room) | {room} for room in GRAPH.find_children(parent)}
    _sorted(
        {
            room: {
                other
                for other, theirs in rooms.items()
                if other != room
                and any(GRAPH.find_modules_directly_imported_by(one) & theirs for one in mine)
            }
            for room, mine in rooms.items()
        }
    )


def _sorted(imported: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(imported).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


def test_a_circle_would_be_found() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"a -> b -> a|b -> a -> b"):
        _sorted({"a": {"b"}, "b": {"a"}})


def test_the_contract_covers_every_package_and_opens_no_back_door() -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / ".importlinter")
    held = [it for it in settings.values() if it.get("type") == "layers"]
    assert all(contract["exhaustive"] == "True" for contract in held)
    assert not any(":" in contract["layers"] or "ignore_imports" in contract for contract in held)
    named = {container for contract in held for container in contract["containers"].split()}
    crowded = {name for name in GRAPH.modules if len(GRAPH.find_children(name)) > 1}
    assert named == crowded


def test_one_name_means_one_thing() -> None:
    names: dict[str, list[str]] = {}
    for module in GRAPH.modules:
        names.setdefault(module.rsplit(".", 1)[-1], []).append(module)
    twins = {name for name, modules in names.items() if len(modules) > 1}
    assert twins == SAME_MEANING.keys()


def test_the_files_that_are_begun_first_are_there(pytestconfig: pytest.Config) -> None:
    shared = pytestconfig.pluginmanager.get_plugin(str(ROOT / "tests" / "conftest.py"))
    assert shared is not None
    assert [name for name in shared.LONGEST_FIRST if not (ROOT / name).is_file()] == []
