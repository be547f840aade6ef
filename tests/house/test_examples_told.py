"""What README and threat model claim is so: ten examples as scored, tests that are there."""

from __future__ import annotations

import re
from collections import Counter

import pytest

import kellgren
from command_line import EXAMPLES, ROOT, rows

TOLD = re.compile(
    r"(\d) of 10 (?:get )?the grade of their label, (\d)\s+are\s+off by one\s+and\s+(\d) by\s+two"
)


@pytest.fixture(scope="module")
def distances() -> Counter[int]:
    labels = rows(EXAMPLES / "grades.csv")
    return Counter(
        abs(int(kellgren.read(EXAMPLES / row["image"])[0].grade) - int(row["grade"]))
        for row in labels
    )


@pytest.mark.parametrize("page", ["README.md", "examples/README.md"])
def test_the_ten_examples_are_told_as_they_are_scored(page: str, distances: Counter[int]) -> None:
    told = TOLD.search(" ".join((ROOT / page).read_text("utf-8").split()))
    assert told is not None
    assert [int(number) for number in told.groups()] == [distances[0], distances[1], distances[2]]
    assert distances.total() == 10


def test_the_tests_that_the_threat_model_names_are_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)`", (ROOT / "docs/threat-model.md").read_text("utf-8"))
    named += re.findall(
        r"`(tests/\S+\.py)`", (ROOT / "docs/release-checklist.md").read_text("utf-8")
    )
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_extras_are_installed_from_the_clone_until_there_is_an_index() -> None:
    pages = [ROOT / "README.md", ROOT / "docs" / "install.md", ROOT / "docs" / "tutorial.md"]
    for page in pages:
        assert "pip install '.[train]'" in page.read_text("utf-8")
    sources = [p.read_text("utf-8") for p in (ROOT / "src").rglob("*.py")]
    assert [s for text in sources for s in re.findall(r"pip install '?kellgren\[", text)] == []
