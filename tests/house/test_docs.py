"""The documentation is true: its commands exist, its snippets run, its links lead somewhere.

Lines of ```bash blocks that start with `kellgren` are parsed, not run. ```python blocks are run, in
order and in one namespace a document, in a folder that holds `examples/` with the knees of one
patient; a block opened with ```python no-run is only compiled.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from command_line import EXAMPLES, ROOT
from documented_commands import parse
from kellgren.evaluation.catalogue import METRICS

DOCUMENTS = {
    str(path.relative_to(ROOT)): path.read_text("utf-8")
    for path in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
}
PATIENT = "9177337"
_BLOCK = re.compile(r"^( *)```(\w+)([^\n`]*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)|(?:src|href|srcset)=\"([^\"]+)\"")


def blocks(document: str, language: str) -> list[tuple[str, str]]:
    """The info string's rest and the text of each block in a language."""
    return [
        (found[3].strip(), re.sub(f"^{found[1]}", "", found[4], flags=re.MULTILINE))
        for found in _BLOCK.finditer(DOCUMENTS[document])
        if found[2] == language
    ]


def command_lines(document: str) -> list[str]:
    """Every `kellgren` call in a document's shell blocks, continued lines joined."""
    return [
        line.strip().removeprefix("$ ")
        for language in ("bash", "sh", "console")
        for _, text in blocks(document, language)
        for line in text.replace("\\\n", " ").splitlines()
        if line.strip().removeprefix("$ ").startswith("kellgren ")
    ]


def test_the_parser_of_this_test_can_refuse() -> None:
    parse("kellgren --version")
    parse("kellgren grade 'a b.png' --csv out.csv | head  # first rows")
    parse("kellgren data folds knees.csv -o folds.json --count 3 && ls")
    for wrong in (
        *("kellgren grad x.png", "kellgren grade x.png --bogus", "kellgren grade x.png --side X"),
        *("kellgren data nothing", "kellgren data index knees", "kellgren grade"),
    ):
        with pytest.raises(Exception):  # noqa: B017, PT011 - the parser's own error, or KeyError
            parse(wrong)


def test_the_readme_shows_how_to_grade() -> None:
    assert any(line.startswith("kellgren grade ") for line in command_lines("README.md"))
    assert blocks("README.md", "python")
    assert "not a medical device" in " ".join(DOCUMENTS["README.md"].lower().split())


@pytest.mark.parametrize(
    "line", sorted({line for document in DOCUMENTS for line in command_lines(document)})
)
def test_documented_commands_exist(line: str) -> None:
    parse(line)


@pytest.fixture
def metrics_as_before() -> Iterator[None]:
    """A snippet that registers a metric does so for itself alone."""
    before = list(METRICS)
    yield
    METRICS[:] = before


@pytest.mark.usefixtures("metrics_as_before")
@pytest.mark.parametrize("document", [d for d in DOCUMENTS if blocks(d, "python")])
def test_documented_python_runs(
    document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [knee.name for knee in EXAMPLES.glob("*.png") if knee.stem[:-1] != PATIENT]
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns(*others))
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for number, (info, text) in enumerate(blocks(document, "python"), start=1):
        code = compile(text, f"{document}, python block {number}", "exec")
        if "no-run" not in info:
            exec(code, namespace)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_relative_links_lead_somewhere(document: str) -> None:
    text = _BLOCK.sub("", DOCUMENTS[document])
    targets = {a or b for a, b in _LINK.findall(re.sub(r"`[^`\n]*`", "", text))}
    local = {t.split("#")[0] for t in targets if not re.match(r"[a-z]+:", t)} - {""}
    folder = (ROOT / document).parent

    assert sorted(t for t in local if not (folder / t).exists()) == []
    assert not any(t.startswith("/") for t in local)


@pytest.mark.parametrize(("start", "below"), [("README.md", "docs/"), ("docs/index.md", "")])
def test_every_how_to_can_be_found_from_the_start(start: str, below: str) -> None:
    text = (ROOT / start).read_text("utf-8")
    pages = [path.name for path in (ROOT / "docs" / "how-to").glob("*.md")]
    assert [name for name in pages if f"({below}how-to/{name})" not in text] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_no_machine(document: str) -> None:
    assert re.findall(r"(?<![\w.])/(?:home|work|root|tmp)/\S*", DOCUMENTS[document]) == []
