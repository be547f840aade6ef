"""The reference holds every command, option and public name, and none that does not exist."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main

import kellgren
from command_line import EXAMPLES, ROOT
from command_line import kellgren as kellgren_command
from kellgren.cli import app

REFERENCE = ROOT / "docs" / "reference"
REMEDY = "run `python scripts/make_reference.py`"


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    """The script that makes the pages."""
    path = ROOT / "scripts" / "make_reference.py"
    found = importlib.util.spec_from_file_location("make_reference", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def sections(page: str, level: int) -> dict[str, str]:
    """The text under each heading of a level, down to the next one of it or above."""
    parts = re.split(
        rf"^(#{{1,{level}}}) (.+)\n", (REFERENCE / page).read_text("utf-8"), flags=re.M
    )
    return {
        title.replace("\\", ""): text
        for marks, title, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
        if len(marks) == level
    }


def commands(command: Any, path: str = "kellgren") -> dict[str, Any]:
    """Every command that can be called, by its words, groups included."""
    found = {path: command}
    for name, inner in getattr(command, "commands", {}).items():
        found |= commands(inner, f"{path} {name}")
    return found


COMMANDS = commands(typer.main.get_command(app))


def test_the_pages_are_those_that_the_sources_make(maker: ModuleType) -> None:
    assert {"commands.md", "python.md", "readings.schema.json"} == maker.FILES.keys()
    for name, made in maker.FILES.items():
        assert (REFERENCE / name).read_text("utf-8") == made(), REMEDY


def keys(value: Any) -> set[str]:
    """Every key of a document, and of what lies in it under names that a program chose."""
    if isinstance(value, list):
        return {key for part in value for key in keys(part)}
    if not isinstance(value, dict):
        return set()
    inner = {key: keys(part) for key, part in value.items() if not key.endswith("counts")}
    return set(value).union(*inner.values())


@pytest.mark.parametrize(
    ("words", "section"),
    [
        (("locate", EXAMPLES / "9177337R.png"), "`locate`"),
        (("doctor",), "Other commands"),
        (("data", "check", EXAMPLES / "grades.csv"), "Other commands"),
        (("watch", ROOT / "results" / "oof" / "ensemble.csv.gz"), "Other commands"),
    ],
    ids=lambda words: " ".join(map(str, words[:1])),
)
def test_every_key_of_a_document_is_told(
    words: tuple[Any, ...], section: str, tmp_path: Path
) -> None:
    document = tmp_path / "written.json"
    kellgren_command(*words, "--json", document)
    told = sections("predictions.md", 2)[section]
    row = next((line for line in told.splitlines() if line.startswith(f"| `{words[0]}")), told)
    common = {"centre", "name", "verdict", "evidence", "value"}  # as in a reading's document
    found = keys(json.loads(document.read_text("utf-8"))) - common
    assert [key for key in sorted(found) if f"`{key}`" not in row] == []


def test_every_column_of_locate_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert kellgren_command("locate", EXAMPLES / "9177337R.png", "--csv", "-") == 0
    told = sections("predictions.md", 2)["`locate`"]
    columns = capsys.readouterr().out.splitlines()[0].split(",")
    assert [column for column in columns if f"`{column}`" not in told] == []


def test_every_command_has_its_section_and_no_other_does() -> None:
    assert sections("commands.md", 2).keys() == COMMANDS.keys()


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_has_all_its_options_and_no_others(words: str) -> None:
    command, text = COMMANDS[words], sections("commands.md", 2)[words]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    names = {name for option in options for name in (*option.opts, *option.secondary_opts)}
    listed = re.findall(r"^- `(-[^`]*)`", text, flags=re.MULTILINE)

    assert {name for row in listed for name in re.findall(r"(?<![\w-])--?[a-z][\w-]*", row)} == (
        names | {"--help", "-h"}
    )
    assert " ".join((command.help or "").split()[:4]) in text
    arguments = len(command.params) - len(options)
    assert len(re.findall(r"^- `[^-`]", text, flags=re.MULTILINE)) == arguments
    if not hasattr(command, "commands"):
        assert f"```bash\n{words}" in text or f" {words} " in text


def test_the_environment_variables_of_options_are_documented() -> None:
    parameters = [p for command in COMMANDS.values() for p in command.params]
    named = {str(p.envvar) for p in parameters if p.envvar}
    told = set(
        re.findall(r"^\| `(KELLGREN_\w+)`", (REFERENCE / "command-line.md").read_text(), re.M)
    )

    assert named
    assert told == named | {"KELLGREN_HOME"}


def test_every_public_name_has_its_section_and_no_other_does() -> None:
    assert list(sorted(sections("python.md", 3))) == sorted(kellgren.__all__)


def public_members(cls: type) -> set[str]:
    """Methods and properties that a user of a class sees and this package wrote."""
    found = set()
    for name in {name for base in cls.__mro__ for name in vars(base) if not name.startswith("_")}:
        member = inspect.getattr_static(cls, name)
        for attribute in ("__func__", "fget", "func"):
            member = getattr(member, attribute, member)
        if inspect.isfunction(member) and member.__module__.startswith("kellgren"):
            found.add(name)
    return found


CLASSES = [name for name in kellgren.__all__ if isinstance(getattr(kellgren, name), type)]


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_has_all_its_members_and_no_others(name: str) -> None:
    cls = getattr(kellgren, name)
    headings = {h.split(".")[1] for h in sections("python.md", 4) if h.split(".")[0] == name}
    above = {
        member
        for base in cls.__mro__[1:]
        if base in [getattr(kellgren, other) for other in CLASSES]
        for member in public_members(base)
    }

    assert headings <= public_members(cls)
    assert headings >= public_members(cls) - above
    if issubclass(cls, Enum):
        text = sections("python.md", 3)[name]
        assert set(re.findall(rf"^- `{name}\.(\w+)`", text, re.M)) == set(cls.__members__)


@pytest.mark.parametrize("name", [name for name in kellgren.__all__ if name != "__version__"])
def test_every_public_name_is_described(name: str) -> None:
    thing = getattr(kellgren, name)
    described = [thing]
    if isinstance(thing, type):
        described += [inspect.getattr_static(thing, member) for member in public_members(thing)]
    for found in described:
        text = getattr(found, "__func__", found).__doc__ or ""
        assert text.strip()
        assert not text.startswith(f"{name}(")  # what dataclasses write by themselves


def test_sections_of_docstrings_become_lists(maker: ModuleType) -> None:
    def sample() -> None:
        """Read ``path``.

        More of it.

        Args:
            path: where it is,
                wherever that may be.
            **options: of the reader.

        Returns:
            What it says: a text.

        Raises:
            OSError: it is not there.
        """

    assert maker.document(sample) == (
        "Read ``path``.\n\nMore of it.\n\nArguments:\n\n- `path`: where it is,\n"
        "  wherever that may be.\n- `**options`: of the reader.\n\nReturns:\n\n"
        "What it says: a text.\n\nRaises:\n\n- `OSError`: it is not there.\n"
    )


def test_a_name_that_is_added_is_documented(
    maker: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refused(kellgren.KellgrenError):
        """A file that is refused."""

    def read(path: Path, *, side: kellgren.Side = kellgren.Side.LEFT) -> None:
        """Read a file."""

    for name, thing in (("Refused", Refused), ("read", read)):
        monkeypatch.setattr(kellgren, name, thing, raising=False)
    monkeypatch.setattr(kellgren, "__all__", [*kellgren.__all__, "Refused", "read"])

    page = maker.python_page()

    assert "### Refused\n\nA kind of `KellgrenError`.\n\nA file that is refused.\n" in page
    assert "kellgren.read(path: Path, *, side: kellgren.Side = Side.LEFT) -> None\n" in page
    assert page.count("#### ") == (REFERENCE / "python.md").read_text("utf-8").count("#### ")
