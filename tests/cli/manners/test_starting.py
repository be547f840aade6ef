"""What a command loads is left out of Python's search for garbage, which goes on afterwards."""

from __future__ import annotations

import gc

import pytest

from kellgren.cli.manners.starting import starting


def test_the_search_pauses_and_goes_on() -> None:
    with starting():
        assert not gc.isenabled()
        loaded = [[number] for number in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= len(loaded)
    gc.unfreeze()


def test_it_goes_on_after_an_error_too() -> None:
    with pytest.raises(ValueError, match="no bundle"), starting():
        raise ValueError("no bundle")
    assert gc.isenabled()
    gc.unfreeze()
