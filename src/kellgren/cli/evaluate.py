"""`kellgren evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = "kellgren evaluate grades.csv --labels knees.csv --json scores.json"


def evaluate(
    predictions: Annotated[
        Path, typer.Argument(help="Table with image and grade, and p0 to p4 if there are any.")
    ],
    labels: Annotated[
        Path, typer.Option(help="Manifest, or folder with a folder per grade: the true grades.")
    ],
    json: Annotated[Path | None, typer.Option(help="Write the scores as JSON.")] = None,
    resamples: Annotated[
        int, typer.Option(min=100, max=100_000, help="Of patients, for the intervals.")
    ] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Of the resampling.")] = 42,
) -> None:
    """Score predicted grades against true ones, each metric with its 95 % interval."""
    from json import dumps

    from kellgren import terminal
    from kellgren.evaluation import Label, match, read_predictions, render, score
    from kellgren.files import written_whole
    from kellgren.manifest import index

    truth = [
        Label(str(knee.image), knee.patient, int(knee.grade), knee.side)
        for knee in index(labels)
        if knee.grade is not None
    ]
    matched = match(read_predictions(predictions), truth)
    scores = score(
        matched.truth,
        matched.predicted,
        matched.probabilities,
        matched.patients,
        resamples=resamples,
        seed=seed,
    )
    terminal.out.print(render(scores, matched.coverage))
    if json is not None:
        content = {**scores.to_dict(), "coverage": matched.coverage.to_dict()}
        with written_whole(json) as stream:
            stream.write(dumps(content, indent=2, allow_nan=False) + "\n")
