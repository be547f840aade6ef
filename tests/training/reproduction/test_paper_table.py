"""`train paper` on a made campaign prints the table that was computed by hand, both protocols."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from command_line import kellgren, rows
from kellgren.data.manifest import write_manifest
from kellgren.evaluation import Estimate, Grades, compare, metrics, score
from kellgren.evaluation.draws import around
from kellgren.grading.voting import hard_vote, mix_vote, soft_vote
from kellgren.training.kept_epochs import write_list
from kellgren.training.selection.subsets import deal
from made_campaign import lay_run, made_folds, made_knees, one_hot, write_table
from simulated_votes import simulated

# Eight knees of four patients; patients 0 and 2 are fold 0's, 1 and 3 fold 1's.
TRUTH = [1, 2, 1, 2, 3, 4, 3, 4]
OUT_OF_FOLD = {
    "a-224": [1, 2, 0, 1, 3, 4, 2, 3],  # fold 0 has 4 of 4 right, fold 1 none
    "a-64": [0, 1, 1, 2, 3, 4, 3, 3],  # 2 of 4, 3 of 4
    "b-64": [1, 2, 1, 2, 3, 3, 3, 4],  # 3 of 4, 4 of 4
}
# Ten knees of five patients that nobody learnt from. Numbers of errors in the comments.
TEST_TRUTH = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
TEST = {
    "a-224": (
        [1, 1, 2, 2, 3, 2, 3, 3, 4, 4],  # 5
        [0, 1, 2, 2, 3, 2, 3, 3, 4, 4],  # 4: the paper's pick; honest is fold 0
    ),
    "a-64": (
        [0, 1, 1, 2, 2, 2, 3, 3, 4, 4],  # 2: the paper's pick
        [0, 1, 1, 1, 2, 3, 3, 4, 4, 4],  # 3: the honest pick
    ),
    "b-64": (
        [1, 0, 1, 1, 2, 1, 3, 3, 4, 3],  # 3: the paper's pick
        [0, 0, 0, 1, 3, 2, 2, 3, 3, 4],  # 4: the honest pick
    ),
}
SURE = {"a-224": (0.5, 0.5), "a-64": (0.6, 0.7), "b-64": (0.7, 0.8)}
# Of two members that differ the hard vote names the lower grade; soft and mix follow b, the surer.
PAPER_HARD = [0, 0, 1, 1, 2, 1, 3, 3, 4, 3]  # 2 errors: the best on the test knees
PAPER_SOFT = TEST["b-64"][0]
HONEST_HARD = [0, 0, 0, 1, 2, 2, 2, 3, 3, 4]
HONEST_SOFT = TEST["b-64"][1]  # soft has 7 of 8 right out of fold, hard 4 of 8


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """The campaign, its data, and the predictions of the test knees."""
    return make(tmp_path)


# Twice the same, as ten knees have no interval.
TEST_TRUTH, PAPER_HARD, PAPER_SOFT = TEST_TRUTH * 2, PAPER_HARD * 2, PAPER_SOFT * 2
HONEST_HARD, HONEST_SOFT = HONEST_HARD * 2, HONEST_SOFT * 2
TEST = {name: (one * 2, other * 2) for name, (one, other) in TEST.items()}


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a report on test knees, and what was printed."""
    folder = make(tmp_path_factory.mktemp("reported"))
    with redirect_stdout(io.StringIO()) as printed:
        assert paper(folder, "--test", folder / "test") == 0
    return folder / "report", printed.getvalue()


def make(tmp_path: Path) -> Path:
    knees = made_knees(tmp_path, TRUTH)
    test = made_knees(tmp_path, TEST_TRUTH, 9_500_000)
    folds = made_folds(knees, 2)
    for backbone, grades in OUT_OF_FOLD.items():
        name, size = backbone.split("-")
        for fold in (0, 1):
            held = [at for at, knee in enumerate(knees) if folds.of_patient[knee.patient] == fold]
            sure = SURE[backbone][fold]
            own = one_hot([grades[at] for at in held], sure)
            job = lay_run(
                *(tmp_path / "campaign", name, int(size), fold, folds),
                ([knees[at] for at in held], own),
            )
            table = one_hot(TEST[backbone][fold], sure)
            write_table(tmp_path / "test" / f"{job.name}.csv", test, table)
    write_manifest(knees, tmp_path / "knees.csv")
    write_manifest(test, tmp_path / "test" / "knees.csv")
    return tmp_path


def paper(made: Path, *more: str | Path) -> int:
    return kellgren(
        *("train", "paper", made / "campaign", "--data", made / "knees.csv"),
        *("-o", made / "report", "--map-knees", "0", *more),
    )


def patients(knees: int) -> list[str]:
    return [f"{number // 2}" for number in range(knees)]


def cell(it: Estimate, sign: str = "") -> str:
    return f"{it.value:{sign}.4f} ({it.low:{sign}.3f} to {it.high:{sign}.3f})"


def line(text: str, title: str, name: str) -> list[str]:
    """The cells of a line of one of the printed tables."""
    table = text.split(title, 1)[1]
    found = next(row for row in table.splitlines() if row.startswith(name))
    return [part.strip() for part in found[len(name) :].strip().split("  ") if part.strip()]


def voted(what: str, theirs: Sequence[int], honest: Sequence[int]) -> tuple[str, list[list[str]]]:
    """The cells of a line of votes: accuracy, then macro-F1; intervals by the package's scores."""
    people = patients(20)
    one, two = (score(TEST_TRUTH, grades, None, people) for grades in (theirs, honest))
    both = compare(TEST_TRUTH, Grades(theirs), Grades(honest), people, permutations=1)
    return what, [
        [
            cell(getattr(one, key)),
            cell(getattr(two, key)),
            cell(both.metrics[key].difference, "+"),
        ]
        for key in ("accuracy", "macro_f1")
    ]


def mean_accuracy(networks: Sequence[Sequence[int]]) -> Estimate:
    """The mean of several networks, one resample of patients after the other."""
    right = np.array(networks) == np.array(TEST_TRUTH)
    drawn = np.random.default_rng(42).integers(0, 10, (2000, 10))
    means = [right[:, [2 * at + k for at in row for k in (0, 1)]].mean() for row in drawn]
    it = around(np.array([right.mean(), *means]), 10)
    return Estimate(it.value, max(it.low, 0.0), min(it.high, 1.0))


def test_both_protocols_are_those_computed_by_hand(reported: tuple[Path, str]) -> None:
    _, text = reported
    titles = ("accuracy, 95 % intervals", "macro-F1, 95 % intervals")
    expected = [
        voted("all 2, hard voting", PAPER_HARD, HONEST_HARD),
        voted("all 2, soft voting", PAPER_SOFT, HONEST_SOFT),
        voted("all 2, mix voting", PAPER_SOFT, HONEST_SOFT),
        voted("best subset, hard voting", PAPER_HARD, HONEST_HARD),
        voted("best subset, soft voting", PAPER_SOFT, HONEST_SOFT),
        voted("best subset, mix voting", PAPER_SOFT, HONEST_SOFT),
        voted("best subset and rule", PAPER_HARD, HONEST_SOFT),
        voted("1 single network at 224 pixels, best fold of each", *TEST["a-224"][::-1]),
    ]
    for name, cells in expected:
        for title, numbers in zip(titles, cells, strict=True):
            assert line(text, title, name) == numbers, name
    # the same by hand, without the package: 16 and 12 of 20 right; F1 of each grade
    last = expected[6][1]
    assert last[0][0].startswith("0.8000 (")
    assert last[0][1].startswith("0.6000 (")
    assert last[0][2].startswith("+0.2000 (")
    theirs = (1 + 4 / 5 + 2 / 3 + 4 / 5 + 2 / 3) / 5
    honest = (4 / 5 + 2 / 3 + 1 / 2 + 2 / 5 + 2 / 3) / 5
    assert last[1][0].startswith(f"{theirs:.4f} (")
    assert last[1][1].startswith(f"{honest:.4f} (")
    assert last[1][2].startswith(f"{theirs - honest:+.4f} (")
    own = [*TEST["a-64"], *TEST["b-64"]]
    name = "single networks at their own size"
    mean = cell(mean_accuracy(own))
    assert line(text, titles[0], f"2 {name}, mean over folds") == [mean, mean, "-"]
    cells = line(text, titles[0], f"2 {name}, best fold of each")
    assert cells[0] == cell(mean_accuracy([own[0], own[2]]))
    assert cells[1] == cell(mean_accuracy([own[1], own[3]]))
    mean = cell(mean_accuracy(TEST["a-224"]))
    name = "1 single network at 224 pixels, mean over folds"
    assert line(text, titles[0], name) == [mean, mean, "-"]
    both = np.mean([metrics.macro_f1(TEST_TRUTH, grades) for grades in TEST["a-224"]])
    assert line(text, titles[1], name)[0].startswith(f"{both:.4f} (")
    networks = text.split("single networks", 1)[1].split("accuracy, 95 %")[0]
    told = [" ".join(row.split()) for row in networks.splitlines()]
    assert any(
        row.startswith("a-64 0.7500, ") and "fold 0: 0.8000, " in row and "fold 1: 0.7000, " in row
        for row in told
    )
    assert "chosen on the test knees: a-64 (fold 0) + b-64 (fold 0), hard" in text
    assert "chosen honestly: a-64 (fold 1) + b-64 (fold 1), soft" in text


def test_files_say_the_same_as_the_table(reported: tuple[Path, str]) -> None:
    out, _ = reported
    content = json.loads((out / "report.json").read_text())
    assert content["chosen_by_the_paper's_way"]["rule"] == "hard"
    assert content["chosen_by_the_paper's_way"]["members"] == [
        {"backbone": "a-64", "fold": 0, "epoch": None},
        {"backbone": "b-64", "fold": 0, "epoch": None},
    ]
    assert content["chosen_honestly"]["rule"] == "soft"
    assert [it["fold"] for it in content["chosen_honestly"]["members"]] == [1, 1]
    assert (content["scored_on"], content["knees"], content["measure"]) == (
        "test knees",
        20,
        "paper",
    )
    last = next(row for row in content["protocols"] if row["what"] == "best subset and rule")
    assert last["optimism"]["accuracy"]["value"] == pytest.approx(0.2)
    table = {row["what"]: row for row in rows(out / "protocols.csv")}
    assert float(table["best subset and rule"]["paper_accuracy"]) == 0.8
    assert float(table["best subset and rule"]["honest_accuracy"]) == 0.6
    assert float(table["best subset, mix voting"]["reported_accuracy"]) == 0.7693
    # The honest vote with both folds of each: geometric means of two distributions, then their sum.
    means = []
    for backbone in ("a-64", "b-64"):
        pair = [one_hot(TEST[backbone][fold], SURE[backbone][fold]) for fold in (0, 1)]
        mean = np.sqrt(pair[0] * pair[1])
        means.append(mean / mean.sum(axis=1, keepdims=True))
    right = np.mean((means[0] + means[1]).argmax(axis=1) == TEST_TRUTH)
    assert float(table["the honest vote, all folds"]["honest_accuracy"]) == pytest.approx(right)
    assert table["the honest vote, all folds"]["paper_accuracy"] == ""

    subsets = rows(out / "subsets.csv")
    assert [(row["members"], row["rule"], row["best_rule_of_subset"]) for row in subsets] == [
        ("a-64 + b-64", "hard", "yes"),
        ("a-64 + b-64", "soft", ""),
        ("a-64 + b-64", "mix", ""),
    ]
    assert float(subsets[0]["paper"]) == pytest.approx(
        0.8 + (1 + 4 / 5 + 2 / 3 + 4 / 5 + 2 / 3) / 5, abs=1e-6
    )
    assert [float(row["out_of_fold_accuracy"]) for row in subsets] == [0.5, 0.875, 0.875]
    networks = {row["backbone"]: row for row in rows(out / "networks.csv")}
    assert (networks["a-64"]["best_fold"], networks["a-64"]["honest_fold"]) == ("fold 0", "fold 1")
    assert float(networks["a-224"]["mean_accuracy"]) == pytest.approx(0.55)
    page = (out / "report.html").read_text()
    assert "chosen on the test knees" in page
    assert "0.8000" in page
    assert "<script" not in page
    for name in ("candidates", "protocols", "confusion-paper", "roc-paper", "pr-honest"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert not (out / "maps.png").exists()


@pytest.mark.usefixtures("unrendered")
def test_all_networks_vote_where_asked(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert paper(made, "--test", made / "test", "--vote-among", "all") == 0
    text = capsys.readouterr().out
    assert "all 3, hard voting" in text
    table = rows(made / "report" / "subsets.csv")
    assert len(table) == 3 * 4
    assert {row["count"] for row in table} == {"2", "3"}
    marked = [row["members"] for row in table if row["best_rule_of_subset"]]
    assert len(marked) == len(set(marked)) == 4


@pytest.mark.usefixtures("unrendered")
def test_a_knee_that_a_run_lacks_is_named(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = sorted((made / "test").glob("a-64-*.csv"))[0]
    kept = table.read_text().splitlines(keepends=True)
    table.write_text("".join([*kept[:4], *kept[5:]]))  # the fourth of its knees
    assert paper(made, "--test", made / "test") == 0
    said = capsys.readouterr()
    assert "1 test knees are left out, for not every network predicted them: 9500001R.png" in (
        " ".join(said.err.split())
    )
    assert said.out.startswith("19 test knees, 10 patients")
    assert "9500001R.png" in (made / "report" / "report.html").read_text()


@pytest.mark.usefixtures("unrendered")
def test_kept_epochs_compete_in_the_papers_way(made: Path) -> None:
    """An epoch that is perfect on the test knees and worthless on its own fold's."""
    job = next((made / "campaign" / "jobs").glob("b-64-f1-*"))
    test = made_knees(made, TEST_TRUTH, 9_500_000)
    write_table(made / "test" / f"{job.name}.epoch-07.csv", test, one_hot(TEST_TRUTH, 0.9))
    with (job / "oof.csv").open() as stream:
        own = list(csv.DictReader(stream))
    (job / "epochs").mkdir()
    lines = ["image,side,grade,p0,p1,p2,p3,p4"]
    lines += [f"{row['image']},{row['side']},0,1,0,0,0,0" for row in own]
    (job / "epochs" / "epoch-07.csv").write_text("\n".join(lines) + "\n")
    (job / "epochs" / "epoch-07.safetensors").touch()
    write_list(job, [{}] * 7)
    assert paper(made, "--test", made / "test") == 0
    content = json.loads((made / "report" / "report.json").read_text())
    theirs, honest = content["chosen_by_the_paper's_way"], content["chosen_honestly"]
    assert theirs["members"][1] == {"backbone": "b-64", "fold": 1, "epoch": 7}
    assert theirs["scores"]["accuracy"]["value"] == 1.0
    assert honest["members"][1] == {"backbone": "b-64", "fold": 1, "epoch": None}
    row = next(row for row in content["networks"] if row["backbone"] == "b-64")
    assert row["best_fold"]["epoch"] == 7
    assert row["mean_over_folds"]["accuracy"]["value"] == pytest.approx(0.65)  # runs' own alone


@pytest.mark.usefixtures("unrendered")
def test_without_test_knees_all_is_out_of_fold_and_nested(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    members, truth = simulated(3, 120, seed=5)
    members = members.round(6)  # as tables hold them
    knees = made_knees(tmp_path, truth.tolist())
    folds = made_folds(knees, 3)
    of = np.array([folds.of_patient[knee.patient] for knee in knees])
    for number, name in enumerate("abc"):
        for fold in range(3):
            mine = of == fold
            held = [knee for knee, it in zip(knees, mine, strict=True) if it]
            lay_run(tmp_path / "campaign", name, 64, fold, folds, (held, members[number][mine]))
    write_manifest(knees, tmp_path / "knees.csv")
    assert paper(tmp_path, "--by", "accuracy") == 0
    text = capsys.readouterr().out
    assert text.startswith("120 knees, out of fold, 60 patients\nno --test: ")

    votes = {"hard": hard_vote, "soft": soft_vote, "mix": mix_vote}
    candidates = [
        votes[rule](members[list(chosen)]).argmax(axis=1) == truth
        for chosen in ((0, 1), (0, 2), (1, 2), (0, 1, 2))
        for rule in votes
    ]
    naive = max(right.mean() for right in candidates)
    group = deal([knee.patient for knee in knees])
    nested = np.zeros(120, bool)
    for held in range(5):
        best = max(candidates, key=lambda right: right[group != held].mean())
        nested[group == held] = best[group == held]
    title = "accuracy, 95 % intervals"
    cells = line(text, title, "best subset and rule")
    assert [it.split()[0] for it in cells] == [
        f"{naive:.4f}",
        f"{nested.mean():.4f}",
        f"{naive - nested.mean():+.4f}",
    ]
    assert naive > nested.mean()
    by_fold = [[(m.argmax(1) == truth)[of == f].mean() for f in range(3)] for m in members]
    cells = line(text, title, "3 single networks at their own size, best fold of each")
    best = np.mean([max(folds) for folds in by_fold])
    assert [it.split()[0] for it in cells[:2]] == [f"{best:.4f}", f"{np.mean(by_fold):.4f}"]
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    assert content["scored_on"] == "knees held out by the folds"
    assert content["chosen_honestly"]["scores"]["accuracy"]["value"] == pytest.approx(nested.mean())
    assert "No test knees were given" in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.usefixtures("unrendered")
def test_a_fold_that_is_not_finished_is_told(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    next((made / "campaign" / "jobs").glob("a-64-f1-*/oof.csv")).unlink()
    assert paper(made) == 0
    assert "4 knees are left out, for some backbones held them out and others did not" in (
        " ".join(capsys.readouterr().err.split())
    )


@pytest.mark.usefixtures("unrendered")
def test_maps_that_cannot_be_drawn_are_told_and_the_rest_is_written(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert paper(made, "--test", made / "test", "--map-knees", "2") == 1
    assert "no maps: " in capsys.readouterr().err
    assert "No maps: " in (made / "report" / "report.html").read_text()


def test_tables_without_labels_are_refused(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (made / "test" / "knees.csv").unlink()
    assert paper(made, "--test", made / "test") == 2
    assert "is not a folder that train predict wrote: it has no knees.csv" in (
        " ".join(capsys.readouterr().err.split())
    )
    assert paper(made, "--test-labels", made / "knees.csv") == 2


def test_choosing_takes_a_table_of_one_name_from_each_run(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Picked fold against picked fold: 16 of 20 and 12 of 20, and 7 of 8 nested out of fold."""
    labels = made / "test" / "knees.csv"
    choose = ("train", "choose", made / "campaign", "--labels", made / "knees.csv")
    own = [job for job in (made / "campaign" / "jobs").iterdir() if "-64-" in job.name]
    for job in own:
        (made / "test" / f"{job.name}.csv").rename(job / "test.csv")
    chosen = [*choose[:2], *own, *choose[3:], "--by", "accuracy"]
    assert kellgren(*chosen, "--test", "test.csv", "--test-labels", labels) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "20 test knees, accuracy: chosen on them 0.8000, chosen out of fold 0.6000, "
        "optimism +0.2000; the latter with all folds' networks "
    ) in said
    assert kellgren(*chosen, "--test-labels", labels) == 2
    learnt = ("--test", "test.csv", "--test-labels", made / "knees.csv")
    assert kellgren(*chosen, *learnt) == 2
    assert "8 of 8 knees are of patients that runs learnt from" in capsys.readouterr().err
