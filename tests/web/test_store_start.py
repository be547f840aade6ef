"""Starting on a store never destroys: lost, empty, damaged and shared databases, backups."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from test_storage import accept, answer

from bundle_factory import make_bundle
from command_line import kellgren
from kellgren.atomic_files import CannotWrite
from kellgren.errors import KellgrenError
from kellgren.web.app import Application
from kellgren.web.settings import Settings
from kellgren.web.storage import opening
from kellgren.web.storage.blobs import BlobStore
from kellgren.web.storage.cases import CaseStore
from kellgren.web.storage.opening import filling

FILMS = [b"film %d" % number for number in range(4)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store of four films, three of which are answered, that no process has open."""
    store = CaseStore(tmp_path / "store")
    for number, film in enumerate(FILMS):
        accept(store, film)
        if number < 3:
            job = store.claim()
            assert job is not None
            store.finish(job.id, answer(number, name=b"%d" % number))
    store.close()
    return store.folder


def contents(folder: Path) -> set[bytes]:
    """What is kept below a folder, wherever it lies."""
    return {path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def without_base(folder: Path, how: str) -> None:
    for path in folder.glob("cases.sqlite*"):
        if how == "empty":
            path.write_bytes(b"")
        else:
            path.unlink()
    if how == "other":
        sqlite3.connect(folder / "cases.sqlite").execute("CREATE TABLE t (x)").connection.close()


@pytest.mark.parametrize("how", ["missing", "empty", "other"])
def test_a_lost_database_costs_no_film(folder: Path, how: str) -> None:
    before = {content for content in contents(folder) if b"SQLite" not in content}
    without_base(folder, how)
    store = CaseStore(folder)
    assert store.count_open() == 0
    store.close()
    assert before <= contents(folder)
    assert set(FILMS) <= contents(folder)
    CaseStore(folder).close()
    assert set(FILMS) <= contents(folder)


def test_a_lost_database_is_said(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    without_base(folder, "missing")
    bundle = make_bundle(tmp_path / "tiny").folder
    Application(Settings(store=folder, hosts=frozenset(), workers=0, model=bundle)).store.close()
    assert "quarantine" in caplog.text
    assert "quarantine" in (folder / "audit.log").read_text()


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096 : 4096 + 2000] = os.urandom(2000)
    path.write_bytes(content)


def test_a_damaged_database_is_one_clear_line_and_stays(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(folder / "cases.sqlite")
    before = tree(folder)
    with pytest.raises(KellgrenError, match=r"cases\.sqlite: is damaged .*Restore a backup"):
        CaseStore(folder)
    words = ("--port", "0", "--model", make_bundle(tmp_path / "tiny").folder)
    assert kellgren("serve", "--store", folder, *words) == 2
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1
    assert error.startswith("error:")
    after = tree(folder)
    assert {name: after[name] for name in before} == before


def test_text_instead_of_a_database_is_damaged_too(folder: Path) -> None:
    (folder / "cases.sqlite").write_bytes(b"no database at all, but long enough to look" * 100)
    with pytest.raises(KellgrenError, match="is damaged"):
        CaseStore(folder)
    assert set(FILMS) <= contents(folder)


def test_a_second_server_is_refused(folder: Path) -> None:
    first = CaseStore(folder)
    with pytest.raises(KellgrenError, match="a server that is running"):
        CaseStore(folder)
    first.close()
    CaseStore(folder).close()


def test_a_database_that_is_removed_meanwhile_is_written_anew(folder: Path, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "tiny").folder
    app = Application(Settings(store=folder, hosts=frozenset(), workers=0, model=bundle))
    added = accept(app.store, b"since the start")
    without_base(folder, "missing")
    assert app.store.database.trouble()
    app.housekeeper.watch()
    assert app.housekeeper.trouble == ""
    later = accept(app.store, b"after that")
    app.store.close()
    store = CaseStore(folder)
    assert store.set_aside == 0
    assert store.count_states() == {
        **{"waiting": 3, "working": 0, "graded": 3, "refused": 0, "failed": 0}
    }
    assert store.case(added) is not None
    assert store.case(later) is not None
    store.close()


def test_a_long_change_of_its_own_is_no_trouble(folder: Path) -> None:
    store = CaseStore(folder)
    with store.transaction() as base:
        base.execute("UPDATE cases SET note = 'slowly'")
        assert store.database.trouble() == ""
    with closing(sqlite3.connect(folder / "cases.sqlite")) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "another program" in store.database.trouble()
    assert store.database.trouble() == ""
    store.close()


def test_a_backup_is_restored(folder: Path, tmp_path: Path) -> None:
    """Taken while a server has the store; what came after it is set aside, not lost."""
    saved, store = tmp_path / "saved", CaseStore(folder)
    cases = {case.id: case for case in store.find(everything(), limit=9)[0]}
    assert kellgren("store", "backup", saved, "--store", folder) == 0
    assert kellgren("store", "backup", saved, "--store", folder) == 2  # it is not empty now
    later = accept(store, b"a later film")
    assert kellgren("store", "restore", saved, "--store", folder) == 2  # a server has it
    store.close()
    lost = hashlib.sha256(FILMS[0]).hexdigest()
    (folder / "contents" / lost[:2] / lost).write_bytes(b"damaged")
    assert kellgren("store", "restore", saved, "--store", folder) == 0
    again = CaseStore(folder)
    assert {case.id: case for case in again.find(everything(), limit=9)[0]} == cases
    assert again.case(later) is None
    assert b"a later film" in contents(folder / "quarantine")
    assert all(again.blobs.read(digest) for digest in again.needed_contents())
    again.close()


def test_a_backup_finds_in_quarantine_what_a_lost_database_left(
    folder: Path, tmp_path: Path
) -> None:
    assert kellgren("store", "backup", tmp_path / "saved", "--store", folder) == 0
    for path in (tmp_path / "saved" / "contents").rglob("*"):
        if path.is_file():
            path.unlink()
    without_base(folder, "missing")
    CaseStore(folder).close()
    assert kellgren("store", "restore", tmp_path / "saved", "--store", folder) == 0
    store = CaseStore(folder)
    assert [store.blobs.read(digest) for digest in sorted(store.needed_contents())]
    assert store.count_states()["graded"] == 3
    store.close()


def test_a_backup_says_what_it_lacks(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = hashlib.sha256(FILMS[1]).hexdigest()
    (folder / "contents" / digest[:2] / digest).write_bytes(b"another film")
    assert kellgren("store", "backup", tmp_path / "saved", "--store", folder) == 1
    assert re.search(f"missing or damaged.*{digest}", capsys.readouterr().err)
    assert kellgren("store", "backup", tmp_path / "x", "--store", tmp_path / "none") == 2
    assert kellgren("store", "restore", tmp_path / "none", "--store", folder) == 2


def test_a_full_disk_is_named_by_the_folder_of_the_copy(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(BlobStore, "receive", full)
    assert kellgren("store", "backup", tmp_path / "saved", "--store", folder) == 5
    assert f"{tmp_path / 'saved'}: cannot be written (No space" in capsys.readouterr().err
    with closing(sqlite3.connect(":memory:")) as base:
        base.execute("PRAGMA max_page_count = 1")
        named = "a folder: cannot be written"
        with pytest.raises(CannotWrite, match=named), filling(Path("a folder")):
            base.execute("CREATE TABLE t (x)")


def test_a_database_that_a_program_holds_is_not_called_damaged(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(opening, "_CHECK_S", 0.05)
    with closing(sqlite3.connect(folder / "cases.sqlite")) as held:
        held.execute("PRAGMA locking_mode = EXCLUSIVE")
        held.execute("BEGIN EXCLUSIVE")
        for asked in (["serve", "--port", "0"], ["store", "backup", tmp_path / "saved"]):
            assert kellgren(*asked, "--store", folder) == 2
            assert "another program holds the database locked" in capsys.readouterr().err


def everything() -> object:
    from kellgren.web.storage.messages import Filter

    return Filter()


@pytest.fixture
def client(folder: Path, tmp_path: Path) -> Iterator[TestClient]:
    bundle = make_bundle(tmp_path / "tiny").folder
    hosts = frozenset({"testserver"})
    app = Application(Settings(store=folder, hosts=hosts, workers=0, model=bundle))
    with TestClient(app.asgi()) as opened:
        yield opened


def test_what_was_changed_on_the_disk_is_not_served(client: TestClient, folder: Path) -> None:
    cases = client.get("/api/v1/cases?state=graded").json()["cases"]
    paths = [cases[0]["knees"][0]["picture"], cases[0]["report"]]
    whole = [client.get(path) for path in paths]
    assert [one.status_code for one in whole] == [200, 200]
    for one in whole:
        digest = hashlib.sha256(one.content).hexdigest()
        (folder / "contents" / digest[:2] / digest).write_bytes(b"other pixels")
    for path in paths:
        answered = client.get(path)
        assert answered.status_code == 404
        assert b"other pixels" not in answered.content
        assert "changed on the disk" in answered.json()["detail"]
    for one in whole:
        digest = hashlib.sha256(one.content).hexdigest()
        (folder / "contents" / digest[:2] / digest).unlink()
    for path in paths:
        answered = client.get(path)
        assert answered.status_code == 404
        assert "missing" in answered.json()["detail"]


@pytest.mark.skipif(os.name != "posix", reason="needs permissions")
def test_an_open_store_is_made_private(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    store = CaseStore(folder)
    store.accept([], most_open=9)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")]}
    store.close()
    assert [str(path) for path, mode in modes.items() if mode & 0o077] == []


def test_a_deletion_that_a_kill_cut_in_two_is_ended(folder: Path) -> None:
    store = CaseStore(folder)
    digest = store.blobs.write(b"a film of a deleted case")
    with store.transaction() as base:
        base.execute("INSERT INTO doomed VALUES (?)", (digest,))
    store.close()
    again = CaseStore(folder)
    assert digest not in set(again.blobs.digests())
    assert again.set_aside == 0
    assert b"a film of a deleted case" not in contents(folder)
    again.close()


def test_a_full_disk_leaves_nothing_half_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CaseStore(folder)
    before = contents(folder / "contents")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("kellgren.web.storage.blobs.os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            store.blobs.receive(io.BytesIO(b"half a film"))
    assert contents(folder / "contents") == before
    store.close()
