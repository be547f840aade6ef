"""Every error says which file, what was found there, and what to do, in any process."""

from __future__ import annotations

import copy
import importlib
import pickle
import pkgutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kellgren
from kellgren.errors import InvalidOption, KellgrenError, TrainingError, check_choice
from kellgren.output.pseudonym import InvalidKey
from kellgren.pacs.receiver import CannotListen
from kellgren.pacs.sender import InvalidPeer
from kellgren.pacs.spool import SpoolInUse
from kellgren.web.storage.case_rows import InvalidStoredCase


def subclasses(of: type[KellgrenError]) -> list[type[KellgrenError]]:
    return [of, *(deeper for sub in of.__subclasses__() for deeper in subclasses(sub))]


for module in pkgutil.walk_packages(kellgren.__path__, "kellgren."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
ERRORS = sorted(subclasses(KellgrenError), key=lambda kind: (kind.__name__, kind.__module__))


def test_the_errors_of_all_packages_are_of_one_tree() -> None:
    assert {InvalidKey, CannotListen, InvalidPeer, SpoolInUse, InvalidStoredCase} < set(ERRORS)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_names_subject_problem_and_remedy(kind: type[KellgrenError]) -> None:
    error = kind(Path("films") / "knee.png", "is empty", "Copy it again")
    assert str(error) == "films/knee.png: is empty. Copy it again."
    assert error.reason == "is empty. Copy it again."
    assert (error.subject, error.problem) == ("films/knee.png", "is empty")
    assert str(kind("knee", "is empty", "Copy it again.")).endswith("Copy it again.")


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_passes_between_processes(kind: type[KellgrenError]) -> None:
    error = kind("knee.png", "is empty", "Copy it again")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is kind
        assert str(again) == str(error)
        assert vars(again) == vars(error)


def test_what_cannot_be_kept_is_an_error_of_training() -> None:
    """`except TrainingError` around a run must see a full disk too."""
    assert [kind.__name__ for kind in subclasses(TrainingError)] == ["TrainingError", "CannotKeep"]


@settings(deadline=None)
@given(
    value=st.one_of(st.none(), st.integers(), st.text(), st.binary()),
    choices=st.lists(st.text(), min_size=1, max_size=4, unique=True),
)
def test_only_a_choice_is_a_choice(value: object, choices: list[str]) -> None:
    if value in choices:
        check_choice("option", value, choices)
        return
    with pytest.raises(InvalidOption) as caught:
        check_choice("option", value, choices)
    assert caught.value.subject == "option"
    assert repr(value) in caught.value.problem
    for choice in choices:
        assert repr(choice) in caught.value.remedy
