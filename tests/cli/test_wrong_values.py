"""A wrong value of any option of any command ends in exit code 2, and says what may be given."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
import typer.main

from command_line import kellgren
from kellgren.cli import app

WRONG = "no-such-value"


def options(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Words of every command with each of its options that takes a value."""
    for name, command in getattr(group, "commands", {}).items():
        yield from options(command, (*path, name))
    for option in group.params:
        if isinstance(option, click.Option) and not option.is_flag:
            yield (*path, option.opts[0])


def kind_of(words: tuple[str, ...]) -> click.ParamType:
    command = typer.main.get_command(app)
    for word in words[:-1]:
        command = command.commands[word]  # type: ignore[attr-defined]
    (kind,) = (option.type for option in command.params if words[-1] in option.opts)
    return kind


ALL = list(options(typer.main.get_command(app)))
CHOICES = [words for words in ALL if isinstance(kind_of(words), click.Choice)]
NUMBERS = [words for words in ALL if kind_of(words).name in ("integer", "float")]
RANGES = [
    *(words for words in ALL if isinstance(kind_of(words), click.IntRange | click.FloatRange)),
]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("TERMINAL_WIDTH", "300")


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert kellgren(*words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert words[-2] in said.err
    return said.err


def test_the_options_are_found() -> None:
    assert ("grade", "--engine") in CHOICES
    assert ("grade", "--workers") in RANGES
    assert ("serve", "--port") in NUMBERS


@pytest.mark.parametrize("words", CHOICES, ids=" ".join)
def test_a_wrong_choice_names_the_choices(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    kind = kind_of(words)
    assert isinstance(kind, click.Choice)
    said = refusal(capsys, *words, WRONG)
    assert WRONG in said
    for choice in kind.choices:
        assert f"'{choice}'" in said


@pytest.mark.parametrize("words", NUMBERS, ids=" ".join)
def test_a_word_is_no_number(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert WRONG in refusal(capsys, *words, WRONG)


@pytest.mark.parametrize("words", RANGES, ids=" ".join)
def test_a_number_out_of_range_names_the_range(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    kind = kind_of(words)
    assert isinstance(kind, click.IntRange | click.FloatRange)
    bounds = [bound for bound in (kind.min, kind.max) if bound is not None]
    assert bounds
    beyond = [str(kind.min - 1)] if kind.min is not None else []
    beyond += [str(kind.max + 1)] if kind.max is not None else []
    for number in beyond:
        said = refusal(capsys, *words, number)
        assert number in said
        for bound in bounds:
            assert str(bound) in said


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_an_option_without_its_value_is_refused(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert kellgren(*words) == 2
    assert words[-1] in capsys.readouterr().err
