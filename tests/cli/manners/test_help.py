"""Help as every command gives it: `-h`, no type of flags, nothing cut from 40 to 200 columns."""

from __future__ import annotations

import re
import sys
from importlib import resources

import pytest
import typer.main

from command_line import command, environment, finished, kellgren
from kellgren.cli import app

TREE = typer.main.get_command(app)


def commands(group: object = TREE, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command and group, as the words that name it."""
    inner = getattr(group, "commands", {})
    return [path, *(w for name, sub in inner.items() for w in commands(sub, (*path, name)))]


def options(words: tuple[str, ...]) -> set[str]:
    """The names of a command's options."""
    found: object = TREE
    for word in words:
        found = found.commands[word]  # type: ignore[attr-defined]
    return {
        name
        for parameter in found.params  # type: ignore[attr-defined]
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("-")
    }


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_help_names_every_option_whole_at_every_width(
    words: tuple[str, ...],
    columns: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert kellgren(*words, "-h") == 0
    page = capsys.readouterr().out
    assert {name for name in options(words) if not re.search(rf"{name}(?![\w-])", page)} == set()
    assert "<bool>" not in page
    assert "…" not in page
    assert "[/bold]" not in page
    too_long = [line for line in page.splitlines() if len(line) > columns]
    # an option's choices are one word, which a terminal breaks without a loss
    assert [line for line in too_long if not re.fullmatch(r" +-.* <\S+>", line)] == []
    if columns == 80:
        assert kellgren(*words, "--help") == 0
        assert capsys.readouterr().out == page


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_words_of_help_stand_whole_in_paragraphs(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Brackets of options would be taken for markup, and a docstring's line ends for new lines."""
    monkeypatch.setenv("COLUMNS", "1000")
    found: object = TREE
    for word in words:
        found = found.commands[word]  # type: ignore[attr-defined]
    assert kellgren(*words, "-h") == 0
    page = capsys.readouterr().out
    parts = [" ".join(part.split()) for part in (found.help or "").split("\n\n")]  # type: ignore[attr-defined]
    assert [part for part in parts if part not in page] == []
    helps = [getattr(option, "help", "") or "" for option in found.params]  # type: ignore[attr-defined]
    assert [words for words in helps if words not in page] == []


def test_the_short_name_comes_first_in_every_process() -> None:
    pages = {
        finished(command("grade", "-h"), environment(PYTHONHASHSEED=seed, COLUMNS="40")).stdout
        for seed in ("1", "2", "3")
    }
    assert len(pages) == 1
    assert "-h, --help" in pages.pop()


def test_a_pipe_is_as_wide_as_columns_says() -> None:
    words = command("grade", "examples/9177337R.png")
    narrow = finished(words, environment(COLUMNS="40")).stdout
    wide = finished(words, environment()).stdout
    assert max(map(len, narrow.splitlines())) <= 40
    assert "9177337R.png" in wide
    for cell in ("9177337R.png", "side: right", "grade: 4 severe", "p: 98%", "certainty: high"):
        assert cell in narrow


def test_shells_can_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = environment(
        _KELLGREN_COMPLETE="complete_bash", COMP_WORDS="kellgren tra", COMP_CWORD="1"
    )
    run = "import sys; sys.argv[0] = 'kellgren'; from kellgren.cli import main; main()"
    assert finished([sys.executable, "-c", run], asked).stdout.split() == ["train"]


def test_one_recipe_is_printed_as_it_is_shipped(capsys: pytest.CaptureFixture[str]) -> None:
    assert kellgren("train", "recipes", "--show", "inception") == 0
    shipped = (resources.files("kellgren") / "recipes" / "inception.toml").read_text("utf-8")
    assert capsys.readouterr().out == shipped
    assert kellgren("train", "recipes", "--show", "none") == 2
    assert "one of the shipped recipes" in capsys.readouterr().err
