"""`kellgren train localiser`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kellgren.data.manifest import Knee
    from kellgren.training.knee_detector.network import LocaliserNetwork
    from kellgren.training.knee_detector.run import LocaliserRun

EXAMPLES = "kellgren train localiser --data kneeKL299 --out runs/localiser"


def localiser(
    data: Annotated[Path, typer.Option(help="Folder of knee crops, or a manifest.")],
    out: Annotated[Path, typer.Option(help="Folder of this run.")],
    frames: Annotated[Path | None, typer.Option(help="Folder of real films.")] = None,
    boxes: Annotated[Path | None, typer.Option(help="Where the knees lie on them: CSV.")] = None,
    fold: Annotated[int, typer.Option(min=-1, help="Fold to hold out; -1: none.")] = 0,
    steps: Annotated[int, typer.Option(min=1, help="Of 16 films each.")] = 2000,
    rate: Annotated[float, typer.Option(min=0, help="Highest learning rate.")] = 3e-3,
    side_epochs: Annotated[
        int, typer.Option(min=1, help="Epochs of the network for the side.")
    ] = 14,
    start_from: Annotated[
        Path | None, typer.Option(help="Weights of an earlier run, to go on from.")
    ] = None,
) -> None:
    """Train the network that finds knees on films, and write its ONNX file and card.

    Needs the extra train.
    """
    from kellgren.cli import terminal
    from kellgren.cli.extras import needs_train_extra

    if (frames is None) != (boxes is None):
        raise typer.BadParameter("--frames and --boxes go together")
    with needs_train_extra():
        from kellgren.cli.inputs import knees_to_learn_from
        from kellgren.data.splits import make_folds
        from kellgren.training.knee_detector.run import LocaliserRun, load_frames, train_localiser

        knees = knees_to_learn_from(data)
        held = make_folds(knees).held_out(knees, fold) if fold >= 0 else [False] * len(knees)
        learnt = [knee for knee, out_of_it in zip(knees, held, strict=True) if not out_of_it]
        others = [knee for knee, out_of_it in zip(knees, held, strict=True) if out_of_it]
        real = load_frames(frames, boxes) if frames and boxes else []
        terminal.err.print(f"{len(learnt)} crops, {len(real)} real films", style="dim")
        run = LocaliserRun(learnt, real, steps, rate, start_from=start_from)
        network = train_localiser(run, out, _step_printer(steps))
        _finish(run, network, others, side_epochs, out)
    terminal.err.print(f"written: {out}", style="dim")


def _finish(
    run: LocaliserRun, network: LocaliserNetwork, others: list[Knee], side_epochs: int, out: Path
) -> None:
    """Train the network for the side, export both, and take the limits from knees held out."""
    import numpy as np

    from kellgren.cli import terminal
    from kellgren.training.knee_detector.export import export_networks, write_card
    from kellgren.training.knee_detector.limits import judge
    from kellgren.training.knee_detector.run import SIZE, load_crops
    from kellgren.training.knee_detector.side import SIZE as SIDE_SIZE
    from kellgren.training.knee_detector.side import train_side

    terminal.err.print("the side")
    crops, is_left, _ = load_crops(run.knees)
    side = train_side(crops, is_left, epochs=side_epochs, seed=run.seed)
    export_networks(network, SIZE, side, SIDE_SIZE, out)
    credit = ["Chen 2018, doi 10.17632/56rmx5bjcr.1, CC BY 4.0"]
    if run.frames:
        credit.append("Gornale and Patravali 2020, doi 10.17632/t9ndx37v5h.1, CC BY 4.0")
    facts = {
        "crops": len(run.knees),
        "real_films": len(run.frames),
        "steps": run.steps,
        "rate": run.rate,
        "continued": run.start_from is not None,
        "side_epochs": side_epochs,
        "seed": run.seed,
        "credit": credit,
    }
    write_card(out, SIZE, SIDE_SIZE, facts)
    if others:
        terminal.err.print("the limits")
        judged = judge(out, run.knees, others, run.frames, np.random.default_rng(run.seed))
        write_card(out, SIZE, SIDE_SIZE, facts, judged)


def _step_printer(steps: int) -> Callable[[int, dict[str, float]], None]:
    """Print running means of the loss's parts now and then."""
    from kellgren.cli import terminal

    means: dict[str, float] = {}

    def print_step(step: int, parts: dict[str, float]) -> None:
        for name, value in parts.items():
            means[name] = 0.97 * means.get(name, value) + 0.03 * value
        if step % 20 == 0 or step == steps:
            text = ", ".join(f"{name} {value:.3f}" for name, value in means.items())
            terminal.err.print(f"step {step}/{steps}: {text}", soft_wrap=True)

    return print_step
