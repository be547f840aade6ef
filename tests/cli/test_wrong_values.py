"""A wrong value of any option of any command ends in exit code 2, and says what may be given."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import typer.main

from command_line import kellgren
from kellgren.cli import app

WRONG = "no-such-value"


@dataclass(frozen=True)
class Option:
    """An option that takes a value.

    Attributes:
        words: that lead to it.
        choices: that it has, if any.
        number: whether it takes one.
        bounds: of that, the lowest and the highest.
    """

    words: tuple[str, ...]
    choices: tuple[str, ...]
    number: bool
    bounds: tuple[float | None, float | None]

    def __str__(self) -> str:
        return " ".join(self.words)


def options(group: Any, path: tuple[str, ...] = ()) -> Iterator[Option]:
    """Those of every command, as the signature of its function has them."""
    for name, command in getattr(group, "commands", {}).items():
        yield from options(command, (*path, name))
    if group.callback is None:
        return
    hints = get_type_hints(inspect.unwrap(group.callback), include_extras=True)
    for option in group.params:
        if option.param_type_name == "option" and not option.is_flag and option.name in hints:
            base, info = get_args(hints[option.name])
            kinds = {base, *get_args(base)}
            literals = [kind for kind in kinds if get_origin(kind) is Literal]
            yield Option(
                (*path, option.opts[0]),
                get_args(literals[0]) if literals else (),
                bool(kinds & {int, float}) and not literals,
                (info.min, info.max),
            )


ALL = list(options(typer.main.get_command(app)))
CHOICES = [option for option in ALL if option.choices]
NUMBERS = [option for option in ALL if option.number]
RANGES = [option for option in NUMBERS if option.bounds != (None, None)]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert kellgren(*words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert words[-2] in said.err
    return said.err


def test_the_options_are_found() -> None:
    assert "grade --engine" in map(str, CHOICES)
    assert "grade --workers" in map(str, RANGES)
    assert "serve --port" in map(str, NUMBERS)
    assert len(ALL) > 60


@pytest.mark.parametrize("option", CHOICES, ids=str)
def test_a_wrong_choice_names_the_choices(
    option: Option, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refusal(capsys, *option.words, WRONG)
    for choice in option.choices:
        assert f"'{choice}'" in said


@pytest.mark.parametrize("option", NUMBERS, ids=str)
def test_a_word_is_no_number(option: Option, capsys: pytest.CaptureFixture[str]) -> None:
    assert re.search("valid (integer|number|float)", refusal(capsys, *option.words, WRONG))


@pytest.mark.parametrize("option", RANGES, ids=str)
def test_a_number_out_of_range_names_the_bound(
    option: Option, capsys: pytest.CaptureFixture[str]
) -> None:
    for bound, step in zip(option.bounds, (-1, 1), strict=True):
        if bound is not None:
            assert f"{bound:g}" in refusal(capsys, *option.words, str(bound + step))


@pytest.mark.parametrize("option", ALL, ids=str)
def test_an_option_without_its_value_is_refused(
    option: Option, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kellgren(*option.words) == 2
    assert option.words[-1] in capsys.readouterr().err
