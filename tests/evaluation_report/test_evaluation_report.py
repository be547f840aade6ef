"""`kellgren evaluate --html`: one file that needs nothing, runs nothing and hides nothing."""

from __future__ import annotations

import base64
import io
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundle_factory import make_bundle
from command_line import EXAMPLES, kellgren
from examples_truth import GRADES
from kellgren.data.matching import Label
from kellgren.ensemble import Ensemble
from kellgren.evaluation.matched import Coverage, MatchedKnees
from kellgren.evaluation.ranking import curves
from kellgren.evaluation_report import plots
from kellgren.evaluation_report.map_test import in_turns
from kellgren.evaluation_report.worst import graded_by_another, worst_cases, worst_order

HOSTILE = "<img src=x onerror=alert(1)>&amp;'\".png"
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Checks that tags close in order, and keeps what a browser would act on."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("models") / "tiny").folder


def study(folder: Path, *, probabilities: bool = True) -> tuple[Path, Path]:
    """Ten real knees, three of them graded wrongly, and one whose picture is not there."""
    wrong = {"9589486L": 2, "9522615L": 2, "9866738R": 1}
    labels = [f"{EXAMPLES / name}.png,{name[:-1]},{grade}" for name, grade in GRADES.items()]
    rows = [(f"{name}.png", wrong.get(name, grade)) for name, grade in GRADES.items()]
    quoted = '"' + HOSTILE.replace('"', '""') + '"'
    labels.append(f"{quoted},9999999,0")
    lines = ["image,grade,p0,p1,p2,p3,p4" if probabilities else "image,grade"]
    for name, grade in [*rows, (quoted, 4)]:
        shares = [0.8 if it == grade else 0.05 for it in range(5)] if probabilities else []
        lines.append(",".join(map(str, [name, grade, *shares])))
    (folder / "labels.csv").write_text("\n".join(["image,patient,grade", *labels]) + "\n")
    table = folder / "a<b>&c.csv"
    table.write_text("\n".join(lines) + "\n")
    return table, folder / "labels.csv"


def words_of(table: Path, labels: Path, tiny: Path, html: Path) -> list[object]:
    few = ("--resamples", "100", "--map-knees", "3", "--model", tiny)
    return ["evaluate", table, "--labels", labels, "--html", html, *few]


def test_the_page_is_whole_asks_for_nothing_and_runs_nothing(tmp_path, tiny, capsys):
    table, labels = study(tmp_path)
    command = words_of(table, labels, tiny, tmp_path / "new" / "report.html")

    assert kellgren(*command, "--against", table) == 0

    text = (tmp_path / "new" / "report.html").read_text("utf-8")
    page = Page(text)
    assert not {"script", "link", "iframe", "form", "object", "base", "a"} & set(page.tags)
    assert not any(name.startswith("on") for name, _ in page.attributes)
    for name, value in page.attributes:
        if name in ("src", "href", "xlink:href"):
            assert value.startswith(("data:image/jpeg;base64,", "#")), name
    assert re.findall(r"https?:|@import|url\((?!#)", text) == []
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert page.words.count("Research software, not a medical device.") == 2
    assert page.words.count(HOSTILE) == 1  # as a word, never as an element
    assert "Evaluation of a<b>&c.csv" in page.words
    assert not re.search(r"\bnan\b", page.words)
    parts = (
        "Headline",
        "Grade by grade",
        "certainty hold",
        "apart",
        "no grade is named",
        "Against",
        "Worst",
        "maps matter",
    )
    for part in parts:
        assert part in page.words
    assert page.tags.count("svg") == 8
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert "written: " in capsys.readouterr().err


def test_worst_cases_show_the_knees_and_say_why_one_is_missing(tmp_path, tiny, capsys):
    table, labels = study(tmp_path)
    one_map = ("--map-knees", "1")
    assert kellgren(*words_of(table, labels, tiny, tmp_path / "r.html"), *one_map) == 0
    assert "warning: The table's probabilities of 3 of the 3" in capsys.readouterr().err
    text = (tmp_path / "r.html").read_text("utf-8")
    cards = text.split("<article>")[1:]
    assert len(cards) == 4
    assert "no picture" in cards[0]  # four grades off; its file does not exist
    for card in cards[1:]:
        pictures = re.findall(r"data:image/jpeg;base64,([^']+)'", card)
        sizes = [Image.open(io.BytesIO(base64.b64decode(data))).size for data in pictures]
        assert len(sizes) == 2
        assert sizes[0] == sizes[1]
        assert "map of grade" in card
    assert [re.findall(r"\d{7}[LR]\.png", card) for card in cards[1:]] == [
        *(["9589486L.png"], ["9866738R.png"], ["9522615L.png"])
    ]

    assert kellgren(*words_of(table, labels, tiny, tmp_path / "again.html"), *one_map) == 0
    assert (tmp_path / "again.html").read_text("utf-8") == text


def test_maps_of_the_model_that_graded_are_not_doubted(tmp_path, tiny):
    ensemble = Ensemble.open(tiny, joint_space=False)
    picture = EXAMPLES / "9177337R.png"
    (reading,) = ensemble.read(picture)
    truth = 4 - int(reading.grade) if reading.grade != 2 else 0
    shares = np.round([reading.probabilities], 6)
    for table, doubted in ((shares, False), (shares[:, ::-1], True)):
        matched = MatchedKnees(
            images=(str(picture),),
            patients=("9177337",),
            truth=np.array([truth]),
            predicted=np.array([int(reading.grade)]),
            probabilities=table,
            coverage=Coverage(1, 1, 0, 0),
            labels=np.array([0]),
        )
        cases = worst_cases(matched, [Label(str(picture), "9177337", truth)], ensemble)
        assert bool(graded_by_another(cases)) is doubted


def test_a_table_without_probabilities_has_a_page_too(tmp_path, tiny):
    table, labels = study(tmp_path, probabilities=False)
    assert kellgren(*words_of(table, labels, tiny, tmp_path / "r.html")) == 0
    page = Page((tmp_path / "r.html").read_text("utf-8"))
    assert "no p0 to p4" in page.words
    assert page.tags.count("svg") == 3
    assert "AUC" not in page.words


def test_the_maps_are_tried_on_some_knees_of_every_predicted_grade(tmp_path, tiny):
    table, labels = study(tmp_path)
    assert kellgren(*words_of(table, labels, tiny, tmp_path / "r.html")) == 0
    text = (tmp_path / "r.html").read_text("utf-8")
    section = text.split("<h2>Do the maps matter")[1].split("</section>")[0]
    assert "3 of the knees" in section
    assert "(no interval: too few knees: 3)" in section
    rows = re.findall(r"<tr><th scope=row>(.*?)</th>(.*?)</tr>", section)
    assert len(rows) == 4
    cells = np.array([re.findall(r"[-+]?\d\.\d\d", row) for _, row in rows], dtype=float)
    deleted, chance, inserted, luck, gain = cells.T
    assert np.abs((chance - deleted + inserted - luck) / 2 - gain).max() <= 0.01 + 1e-9
    assert np.abs(cells[:3].mean(axis=0) - cells[3]).max() <= 0.01

    none = [*words_of(table, labels, tiny, tmp_path / "none.html"), "--map-knees", "0"]
    assert kellgren(*none) == 0
    assert "Do the maps matter" not in (tmp_path / "none.html").read_text("utf-8")


def test_every_predicted_grade_has_its_turn():
    predicted = np.array([0, 0, 0, 0, 0, 0, 2, 2, 4])
    order = list(in_turns(predicted, np.random.default_rng(0)))
    assert sorted(order) == list(range(9))
    assert predicted[order].tolist() == [0, 2, 4, 0, 2, 0, 0, 0, 0]
    assert order != list(in_turns(predicted, np.random.default_rng(1)))


def matched(truth: list[int], predicted: list[int], sure: list[float]) -> MatchedKnees:
    count = len(truth)
    shares = np.zeros((count, 5))
    shares[np.arange(count), predicted] = sure
    return MatchedKnees(
        images=tuple("abcdefgh"[:count]),
        patients=tuple("12345678"[:count]),
        truth=np.array(truth),
        predicted=np.array(predicted),
        probabilities=shares,
        coverage=Coverage(count, count, 0, 0),
        labels=np.arange(count),
    )


def test_the_worst_is_the_largest_error_then_the_surest_then_the_first_name():
    knees = matched([0, 2, 4, 1, 1, 3], [1, 2, 2, 3, 2, 2], [0.9, 1.0, 0.4, 0.5, 0.9, 0.3])
    assert worst_order(knees) == [3, 2, 0, 4, 5]


def test_without_matplotlib_the_page_says_what_to_install(tmp_path, tiny, monkeypatch, capsys):
    table, labels = study(tmp_path)
    for name in [
        it for it in sys.modules if it.startswith(("matplotlib", "kellgren.evaluation_report"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert kellgren(*words_of(table, labels, tiny, tmp_path / "r.html")) == 2
    assert "pip install '.[report]'" in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()


def test_a_broken_bundle_or_a_folder_in_the_way_is_told_before_any_work(tmp_path, tiny, capsys):
    table, labels = study(tmp_path)
    assert kellgren(*words_of(table, labels, tmp_path / "none", tmp_path / "r.html")) == 3
    assert kellgren(*words_of(table, labels, tiny, tmp_path)) == 2
    said = capsys.readouterr().err.replace("│", "").split()  # as wide as the terminal
    assert "is a folder; name a file in it" in " ".join(said)


def test_drawings_are_kept_as_pictures_in_the_colours_of_paper() -> None:
    rng = np.random.default_rng(0)
    finding = curves(rng.random(50) < 0.5, rng.random(50))
    svg = plots.roc([finding] * 6, ["0.5"] * 6)
    with plots.kept_as_png() as kept:
        assert plots.roc([finding] * 6, ["0.5"] * 6) == svg  # the page's drawing stays as it is
        plots.precision_recall([finding] * 6, ["0.5"] * 6, "another name")
    plots.roc([finding] * 6, ["0.5"] * 6)
    assert list(kept) == ["ROC curves", "another name"]
    with Image.open(io.BytesIO(kept["ROC curves"])) as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(2**20) or ()}
    assert {(255, 255, 255), (22, 32, 43), (191, 49, 49), (223, 227, 230)} <= colours
    assert min(sum(colour) for colour in colours) >= 22 + 32 + 43  # no stand-in is left
