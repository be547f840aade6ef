"""What a run was trained on, as one hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from kellgren.data.manifest import Knee
from kellgren.data.splits import Folds


def data_hash(knees: Sequence[Knee], folds: Folds | None, fold: int | None) -> str:
    """SHA-256 over the knees' names, patients, sides and grades, and what is held out.

    Paths do not enter, so the data may be moved between a run's beginning and its resumption.

    Args:
        knees: of the data set, in training order.
        folds: whose ``fold`` is held out; ``None``: nothing is.
        fold: number of the fold.
    """
    rows = [(k.image.name, k.patient, k.side.value, int(k.grade or 0)) for k in knees]
    content = {"knees": rows, "folds": folds.hash if folds else None, "fold": fold}
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
