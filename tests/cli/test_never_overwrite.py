"""What is read, made by others, or being written by another process is never written over."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundle_factory import make_bundle
from command_line import EXAMPLES, kellgren, rows
from kellgren.atomic_files import taken_alone
from kellgren.batch.journal import Journal
from kellgren.ensemble import Ensemble
from kellgren.reading_schema import ModelRecord

LABELS = "image,grade\n9177337L.png,3\n9177337R.png,4\n"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("models") / "tiny").folder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundle: Path) -> Iterator[None]:
    """Two knees and a table of labels in the working directory; the labels stay as they are."""
    for name in ("9177337L.png", "9177337R.png"):
        shutil.copy(EXAMPLES / name, tmp_path / name)
    (tmp_path / "labels.csv").write_text(LABELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KELLGREN_MODEL", str(bundle))
    monkeypatch.setenv("COLUMNS", "200")
    yield
    assert (tmp_path / "labels.csv").read_text() == LABELS


@pytest.mark.parametrize(
    "words",
    [
        ("grade", "labels.csv", "--csv", "labels.csv"),
        ("grade", "9177337L.png", "--csv", "labels.csv"),  # nobody says that these are labels
        ("grade", "9177337L.png", "--json", "9177337L.png"),
        ("locate", "9177337L.png", "--csv", "labels.csv"),
        ("evaluate", "g.csv", "--labels", "labels.csv", "--json", "labels.csv"),
        ("evaluate", "g.csv", "--labels", "labels.csv", "--json", "./g.csv"),
        ("data", "check", "labels.csv", "--json", "labels.csv"),
        ("data", "index", "labels.csv", "-o", "labels.csv"),
    ],
    ids=" ".join,
)
def test_inputs_and_labels_are_not_written_over(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("g.csv").write_text("image,grade\n9177337L.png,3\n")
    before = Path("9177337L.png").read_bytes()
    assert kellgren(*words) == 2
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "another file" in said
    assert Path("9177337L.png").read_bytes() == before


def test_its_own_table_is_replaced() -> None:
    for command in ("grade", "locate"):
        for _ in range(2):
            assert kellgren(command, "9177337L.png", "--csv", f"{command}.csv") == 0
        assert kellgren(command, "9177337R.png", "--csv", f"{command}.csv") == 0
        assert [row["image"] for row in rows(Path(f"{command}.csv"))] == ["9177337R.png"]


@pytest.mark.parametrize(("command", "out"), [("index", "m.csv"), ("folds", "f.json")])
def test_tables_of_knees_are_replaced_only_by_force(
    command: str, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("many.csv").write_text(
        "image,grade\n" + "".join(f"{1000 + n}L.png,{n % 2}\n" for n in range(8))
    )
    more = ("--count", "2") if command == "folds" else ()
    assert kellgren("data", command, "many.csv", "-o", out, *more) == 0
    made = Path(out).read_text()
    assert kellgren("data", command, "many.csv", "-o", out, *more) == 0  # nothing would change
    Path(out).write_text(made + "\n")  # as after a correction by hand
    assert kellgren("data", command, "many.csv", "-o", out, *more) == 2
    assert "--force" in capsys.readouterr().err
    assert Path(out).read_text() == made + "\n"
    assert kellgren("data", command, "many.csv", "-o", out, *more, "--force") == 0
    assert Path(out).read_text() == made


def test_results_that_lie_there_are_published_over_only_by_force(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("results").mkdir()
    Path("results/model_card.md").write_text("of another campaign")
    words = ("train", "publish", "campaign", "--labels", "labels.csv")
    assert kellgren(*words) == 2
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "results holds results already" in said
    assert "--force" in said
    assert Path("results/model_card.md").read_text() == "of another campaign"


def test_a_batch_that_did_not_end_is_not_given_up_in_silence(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = Path(".g.csv.journal")
    journal.write_text("{}\n{}\n")
    assert kellgren("grade", "9177337L.png", "--csv", "g.csv") == 2
    said = capsys.readouterr().err
    assert "holds 2 finished rows of a batch that did not end" in said
    assert "--resume" in said
    assert journal.read_text() == "{}\n{}\n"
    assert kellgren("grade", "9177337L.png", "--csv", "g.csv", "--resume") == 0
    assert "rows of the interrupted batch that are not taken over: 2" in capsys.readouterr().err
    assert not journal.exists()


def test_two_batches_do_not_share_a_journal(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ModelRecord.model_validate(Ensemble.open(bundle, threads=1).model)
    first = Journal(Path(".g.csv.journal"), resume=False, model=model)
    assert kellgren("grade", "9177337L.png", "--csv", "g.csv") == 2
    assert "is being written by another batch" in capsys.readouterr().err
    first.discard()
    assert kellgren("grade", "9177337L.png", "--csv", "g.csv") == 0
    assert not [path for path in Path().iterdir() if path.name.startswith(".g.csv")]


def test_two_trainings_do_not_share_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("train", "member", "lite2", "--data", "labels.csv", "--out", "run")
    first = taken_alone(tmp_path / "run" / ".lock")
    assert first is not None
    assert kellgren(*words) == 2
    assert "run: is being written by another process" in capsys.readouterr().err
    first.close()
    assert kellgren(*words) == 2
    assert "being written" not in capsys.readouterr().err
    assert list((tmp_path / "run").iterdir()) == []
    (tmp_path / "run").rmdir()
    assert kellgren(*words) == 2  # two knees are too few: nothing is left behind
    assert not (tmp_path / "run").exists()
