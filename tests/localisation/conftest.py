"""What tests of localisation share."""

from __future__ import annotations

import pytest

from kellgren.localisation.knee_detector import Localiser


@pytest.fixture(scope="session")
def localiser() -> Localiser:
    """The knee detector that comes with the package; no test changes it."""
    return Localiser()
