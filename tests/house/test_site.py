"""The documentation as a site: it builds strictly, asks no other host, and can be searched."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from command_line import ROOT

LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "srcset"}  # and <link href>


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of a tree strictly."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(target)],
        cwd=source,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("built") / "site"
    done = build(ROOT, target)
    assert done.returncode == 0, done.stderr
    return target


def test_every_page_is_on_the_site_and_can_be_searched(site: Path) -> None:
    found = json.loads((site / "search" / "search_index.json").read_text("utf-8"))["docs"]
    searched = {entry["location"].split("#")[0] for entry in found}
    pages = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}

    assert len(pages) > 30
    for page in pages:
        name = "index" if page.stem == "README" else page.stem
        address = page.with_name(f"{name}.html").as_posix()
        assert (site / address).is_file()
        assert address in searched
    assert any(entry["location"] == "glossary.html#backbone" for entry in found)


def test_lists_and_tables_are_shown_as_such(site: Path) -> None:
    """The site wants an empty line before a list or a table; GitHub does not."""
    broken = re.compile(r"<p>(?:(?!</p>).)*\n(?:- |\| )", re.DOTALL)
    assert broken.search("<p><b>So:</b>\n- one\n- two</p>")
    pages = sorted(site.rglob("*.html"))
    assert [str(page) for page in pages if broken.search(page.read_text("utf-8"))] == []


def test_each_decision_has_its_date_and_status_as_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    known = re.compile(
        r"^# (\d+)\. .+\n\nDate: (\d{4}-\d\d-\d\d)\. Status: (accepted|superseded by .+)\.\n"
    )
    listed = re.findall(
        r"^\| (\d+) \| \[.+?\]\((.+?)\) \| (.+?) \| (.+) \|$",
        (folder / "README.md").read_text("utf-8"),
        flags=re.MULTILINE,
    )
    stated = []
    for page in sorted(folder.glob("[0-9]*.md")):
        found = known.match(page.read_text("utf-8"))
        assert found is not None, page
        assert int(found[1]) == int(page.name[:4])
        stated.append((found[1], page.name, found[2], found[3]))
    assert len(stated) > 10
    assert listed == stated


class Loaded(HTMLParser):
    """The addresses that a page has loaded without a click."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "link" and given.get("rel") not in ("next", "prev", "canonical"):
            self.addresses.append(given.get("href") or "")
        self.addresses.append(given.get(LOADING.get(tag, ""), "") or "")


def loaded(page: str) -> list[str]:
    """The addresses on other hosts that a page has loaded without a click."""
    parser = Loaded()
    parser.feed(page)
    return [a for a in parser.addresses if urlsplit(a).netloc]


def test_the_site_loads_nothing_from_another_host(site: Path) -> None:
    assert loaded(
        '<script src="//x.org/a.js"></script><link rel="stylesheet" href="https://y.org">'
    )
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    assert {
        str(page): loaded(page.read_text("utf-8"))
        for page in pages
        if loaded(page.read_text("utf-8"))
    } == {}
    sheets = "".join(path.read_text("utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//", sheets) == []


def append(page: str, text: str) -> Callable[[Path], object]:
    def damage(tree: Path) -> None:
        path = tree / "docs" / page
        path.write_text((path.read_text("utf-8") if path.exists() else "") + text, "utf-8")

    return damage


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (append("index.md", "\n[lost](how-to/nowhere.md)\n"), "how-to/nowhere.md"),
        (append("index.md", "\n[lost](glossary.md#no-such-term)\n"), "no-such-term"),
        (append("orphan.md", "# In no navigation\n"), "orphan.md"),
    ],
    ids=["broken link", "unknown term", "page missing from the navigation"],
)
def test_what_is_broken_ends_the_build(
    damage: Callable[[Path], object], complaint: str, tmp_path: Path
) -> None:
    """A small tree with the settings of the site, so that the check itself is known to work."""
    settings = (ROOT / "mkdocs.yml").read_text("utf-8")
    kept = "nav:\n  - index.md\n  - glossary.md\n"
    (tmp_path / "docs").mkdir()
    (tmp_path / "mkdocs.yml").write_text(settings[: settings.index("\nnav:\n") + 1] + kept, "utf-8")
    (tmp_path / "docs" / "index.md").write_text("# Home\n\n[fold](glossary.md#fold)\n", "utf-8")
    (tmp_path / "docs" / "glossary.md").write_text("# Glossary\n\n### Fold\nA part.\n", "utf-8")
    whole = tmp_path / "whole"
    assert build(tmp_path, whole).returncode == 0
    shutil.rmtree(whole)

    damage(tmp_path)

    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    assert complaint in done.stderr
