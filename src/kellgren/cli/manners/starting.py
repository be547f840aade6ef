"""Loading of modules and networks, which makes no garbage: Python need not search for any."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def starting() -> Iterator[None]:
    """Let Python search for no garbage in this block, nor later among what was loaded in it.

    It would search all that is there again and again, which takes a tenth of a start's time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
