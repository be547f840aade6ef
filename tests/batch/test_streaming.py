"""Batches of any size: listed as they go, kept on disk, graded by processes that may end."""

from __future__ import annotations

import gc
import json
import sys
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import pytest
from ending_folder import EndingFolder
from threadpoolctl import threadpool_info, threadpool_limits

from command_line import EXAMPLES, finished, kellgren, rows
from kellgren.atomic_files import CannotWrite
from kellgren.batch.batch import counts_of, rows_in_order, run_batch
from kellgren.batch.collecting import Found, found_files
from kellgren.batch.crews import Workers, opened_workers
from kellgren.batch.journal import Journal
from kellgren.batch.listing import Listing
from kellgren.batch.reader_processes import ReaderProcesses
from kellgren.batch.units import FileToGrade
from kellgren.cli.manners.readings_summary import ReadingsSummary
from kellgren.ensemble import Ensemble
from kellgren.errors import InvalidOption
from kellgren.grades import Side
from kellgren.imaging.search import Skipped
from kellgren.reading_schema import GradedRow, ModelRecord
from kellgren.reading_tables import CsvTable, JsonDocument, ParquetTable, parquet_table
from kellgren.scratch import scratch_database, scratch_space, sorted_on_disk

KNEE = EXAMPLES / "9177337L.png"


@pytest.fixture(scope="module")
def ensemble(bundle: Path) -> Ensemble:
    return Ensemble.open(bundle, threads=1)


def held() -> int:
    """Bytes that Python holds; what waits for its collector is none of them."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def held_by(count: int, row: GradedRow, folder: Path) -> int:
    """Bytes held at the most, while so many ready rows go through the parts of a batch."""
    folder.mkdir()
    tracemalloc.start()
    listing = Listing((Found(f"{n}.png", f"{n}.png") for n in range(count)), named=True)
    journal = Journal(folder / "journal", resume=False, model=row.model)
    summary = ReadingsSummary()
    for unit in listing.units(pairs=False):
        if unit is None:
            listing.list_until(listing.count + 1)
            continue
        journal.add([row.model_copy(update={"image": unit[0].image})])
    graded = held()
    with ExitStack() as stack:
        tables = [
            stack.enter_context(CsvTable.at(folder / "t.csv")),
            stack.enter_context(
                JsonDocument.at(folder / "t.json", row.model, counts_of(listing, journal))
            ),
            stack.enter_context(ParquetTable.at(folder / "t.parquet", row.model)),
        ]
        for _, of_file in rows_in_order(listing, journal):
            for one in of_file:
                summary.add(one)
                for table in tables:
                    table.add(one)
        written = held()
    tracemalloc.stop()
    journal.discard()
    listing.close()
    assert summary.graded == len(rows(folder / "t.csv")) == count
    return max(graded, written)


def test_memory_does_not_grow_with_the_number_of_files(
    ensemble: Ensemble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_table, "ROWS_A_GROUP", 50)
    row = GradedRow.of(ensemble.read(KNEE)[0].record())
    held_by(1, row, tmp_path / "first")  # what is loaded once
    few, many = (held_by(count, row, tmp_path / str(count)) for count in (100, 400))
    # A row alone is over 2 000 bytes in memory: 300 more of them would be 600 kB.
    assert many - few < 100_000


def test_files_are_listed_only_as_far_as_they_are_asked_for() -> None:
    asked: list[int] = []

    def endless() -> Iterator[Found]:
        for number in range(10**9):
            asked.append(number)
            yield Found(f"{number}.png", f"{number}.png")

    listing = Listing(endless())
    units = listing.units(pairs=False)
    assert next(units) is None
    listing.list_until(5)
    assert [next(units) for _ in range(5)] == [(FileToGrade(f"{n}.png"),) for n in range(5)]
    assert next(units) is None
    assert (listing.count, listing.complete, len(asked)) == (5, False, 5)
    listing.close()


def test_a_listing_keeps_what_was_given_once_and_in_order() -> None:
    found = [Found("b.png", "b.png"), Skipped("x.txt", "other"), Found("a.png", "a.png")]
    listing = Listing(
        [*found, *found],
        named=True,
        known={"a.png": ("1", Side.LEFT), "elsewhere.png": ("2", Side.RIGHT)},
        patients={"b.png": "3"},
    )
    listing.list_all()
    assert listing.complete
    assert [(file.image, file.name, file.patient) for file in listing.files()] == [
        ("b.png", "b", "3"),
        ("a.png", "a", None),
    ]
    assert list(listing.skipped()) == [Skipped("x.txt", "other")]
    units = [unit for unit in listing.units(pairs=False, side=Side.RIGHT) if unit]
    assert [(unit[0].image, unit[0].side) for unit in units] == [
        ("b.png", Side.RIGHT),
        ("a.png", Side.LEFT),  # as is known of it
    ]
    listing.close()


def test_names_are_sorted_on_disk_as_python_sorts_them() -> None:
    names = ["b", "a\udcff", "a", "ä", "\U0001f9b5", "\uffee", "B", "a.b", "a/b", ""]
    assert [name for name, _ in sorted_on_disk((name, "") for name in names)] == sorted(names)


def test_a_full_disk_for_scratch_is_told_of_like_any_other() -> None:
    rows = ((str(number) * 99,) for number in range(999))
    with closing(scratch_database("CREATE TABLE row (text)")) as database:
        database.execute("PRAGMA max_page_count = 9")
        with pytest.raises(CannotWrite, match="temporary files") as caught, scratch_space():
            database.executemany("INSERT INTO row VALUES (?)", rows)
    assert "Free space there" in str(caught.value)


def test_a_folder_is_walked_in_the_order_of_its_paths(tmp_path: Path) -> None:
    for name in ("b/1.png", "b.png", "a/c/1.png", "a/b.png", "b-/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [Path(file.path) for file in found_files([str(tmp_path)])]
    assert found == sorted(path for path in tmp_path.rglob("*.png"))


def test_a_process_that_ends_takes_no_file_with_it(bundle: Path) -> None:
    """The file that ends its process twice is refused, those in hand beside it are graded."""
    opening = partial(Ensemble.open, bundle, threads=1)
    images = sorted(str(path) for path in EXAMPLES.glob("*.png"))[:3]
    processes = ReaderProcesses(1, opening, force=False, folders=[EndingFolder("deadly")])
    try:
        for image, name in zip(images, ("1", "deadly", "3"), strict=True):
            processes.take(((FileToGrade(image, name=name),),))
        found = []
        while processes.in_hand:
            done, _ = wait(processes.in_hand)
            for future in done:
                if future in processes.in_hand:
                    found += [row for graded in processes.give(future) for row in graded.rows]
    finally:
        processes.close()
    (one,), (two,), (three,) = sorted(found, key=lambda rows: rows[0].image)
    assert [row.image for row in (one, two, three)] == images
    assert (one.grade is None, two.grade is None, three.grade is None) == (False, True, False)
    assert "ended the process that read it" in two.note


def test_processes_that_cannot_begin_are_told_of_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """By what would open the same ensemble here; they themselves show no traceback."""
    opening = partial(Ensemble.open, tmp_path / "nothing")
    with closing(ReaderProcesses(1, opening, force=False)) as processes:
        processes.take(((FileToGrade(str(KNEE)),),))
        (future,) = wait(processes.in_hand).done
        with pytest.raises(InvalidOption, match="cannot start here"):
            list(processes.give(future))
    assert capfd.readouterr().err == ""


def test_processes_give_what_threads_give(bundle: Path, ensemble: Ensemble, tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    images = [*sorted(str(path) for path in EXAMPLES.glob("*.png")), str(tmp_path / "empty.png")]
    record = ModelRecord.model_validate(ensemble.model)
    tables = []
    opening = partial(Ensemble.open, bundle)
    for processes in (False, True):
        listing = Listing(found_files(images))
        journal = Journal(None, resume=False, model=record)
        with opened_workers(opening, 2, processes=processes) as workers:
            assert (workers.processes is not None) == processes
            run_batch(workers, listing, journal)
        tables.append([row for _, of_file in rows_in_order(listing, journal) for row in of_file])
        listing.close()
    assert tables[0] == tables[1]
    assert [row.image for row in tables[0]] == images


def blas_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_products_of_matrices_take_one_thread_while_a_batch_is_graded(ensemble: Ensemble) -> None:
    with threadpool_limits(2, user_api="blas"):
        grading = Workers(ensemble).graded(iter([(FileToGrade(str(KNEE)),)]))
        assert next(grading)[0].grade is not None
        assert blas_threads() == {1}
        grading.close()
        assert blas_threads() == {2}


def test_processes_that_grade_take_one_thread_for_products() -> None:
    words = "from kellgren.batch.reader_processes import _begin_work; "
    words += "from threadpoolctl import threadpool_info, threadpool_limits; "
    words += "threadpool_limits(2, user_api='blas'); _begin_work(lambda: None, False); "
    words += "print({pool['num_threads'] for pool in threadpool_info()})"
    assert finished([sys.executable, "-c", words]).stdout == "{1}\n"


def test_a_list_names_more_files(
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = EXAMPLES / "9177337R.png"
    (tmp_path / "empty.png").touch()
    named = tmp_path / "films.txt"
    named.write_bytes(f"{other}\r\n\n{tmp_path}\n{KNEE}\n".encode())
    table = tmp_path / "t.csv"
    words = ("--model", bundle, "--csv", table)
    assert kellgren("grade", KNEE, "--list", named, *words) == 1
    # the list itself lies in a folder that it names, and is no radiograph
    wanted = [str(KNEE), str(other), str(tmp_path / "empty.png")]
    assert [row["image"] for row in rows(table)] == wanted
    capsys.readouterr()
    assert kellgren("grade", "--list", tmp_path / "none.txt", *words) == 2
    assert "none.txt" in capsys.readouterr().err
    assert kellgren("grade", "--list", named, "--model", bundle, "--csv", named) == 2
    assert kellgren("grade", *words) == 2
    assert "--list" in capsys.readouterr().err


def test_a_parquet_file_holds_what_the_table_holds(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "empty.png").touch()
    table, typed = tmp_path / "t.csv", tmp_path / "t.parquet"
    given = ("grade", EXAMPLES, tmp_path / "empty.png", "--model", bundle)
    assert kellgren(*given, "--csv", table, "--parquet", typed) == 1
    told = capsys.readouterr().err
    assert f"written: {table}, {typed}" in told
    assert "11 files; 10 knees graded (" in told
    assert "; 1 not graded; " in told

    content = parquet.read_table(typed)
    facts = json.loads(content.schema.metadata[b"kellgren.model"])
    assert facts["software"].startswith("kellgren ")
    assert content.schema.metadata[b"kellgren.notice"].startswith(b"Research software")
    found = content.to_pylist()
    assert len(found) == len(rows(table)) == 11
    for typed_row, row in zip(found, rows(table), strict=True):
        for name in ("image", "side", "name", "certainty", "note", "read_with"):
            assert (typed_row[name] or "") == row[name]
        for name in ("grade", "set_low", "set_high", "most_probable"):
            assert typed_row[name] == (int(row[name]) if row[name] else None)
        for name in ("p0", "p4", "set_level"):
            assert typed_row[name] == (float(row[name]) if row[name] else None)
        assert "; ".join(typed_row["warnings"]) == row["warnings"]
        assert "; ".join(typed_row["doubts"]) == row["doubts"]
    assert str(content.schema.field("p0").type) == "double"
    assert str(content.schema.field("grade").type) == "int8"


def test_without_pyarrow_nothing_is_graded(
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    typed = tmp_path / "t.parquet"
    assert kellgren("grade", KNEE, "--model", bundle, "--parquet", typed) == 2
    assert "pip install '.[parquet]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
