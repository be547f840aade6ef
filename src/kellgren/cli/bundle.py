"""`kellgren bundle`: build, quantise, sets, show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kellgren.cli.inputs import Credit, DataLimits, DataName, Licence, Population

if TYPE_CHECKING:
    from kellgren.grading.card import Card

app = typer.Typer(
    no_args_is_help=True,
    help="Model bundles: build one from finished runs, quantise it, fit its sets, show its card.",
)


Fold = Annotated[
    list[int] | None,
    typer.Option(help="Fold whose networks go in; default: final ones, else the lowest fold's."),
]


@app.command(epilog="kellgren bundle build campaign --labels knees.csv -o my-bundle")
def build(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Finished runs, or campaigns.")
    ],
    labels: Annotated[Path, typer.Option(help="Data they were trained on: manifest or folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder for the bundle.")],
    name: Annotated[
        str, typer.Option(help="Name of the bundle, which every reading bears; default: of -o.")
    ] = "",
    by: Annotated[
        Literal["qwk", "accuracy", "macro_f1"],
        typer.Option(help="Metric by which the best rule is chosen."),
    ] = "qwk",
    rule: Annotated[
        Literal["best", "soft", "weighted", "stacked"],
        typer.Option(help="Rule that combines the backbones; best: the best of the three by --by."),
    ] = "best",
    fold: Fold = None,
    weights: Annotated[
        Literal["fp16", "int8"],
        typer.Option(
            help="Format they are stored in; int8 only if 99.8 % of knees keep their grade."
        ),
    ] = "fp16",
    data_name: DataName = "",
    licence: Licence = "",
    credit: Credit = "",
    population: Population = "",
    limits: DataLimits = "",
) -> None:
    """Build a bundle from runs: chosen, calibrated and scored on their out-of-fold predictions.

    Needs the extra train.
    """
    from kellgren.cli import terminal
    from kellgren.cli.extras import needs_train_extra
    from kellgren.cli.inputs import knees_to_learn_from
    from kellgren.grading.combiner import RULES

    if fold is not None and len(fold) > 1:
        raise typer.BadParameter(
            "the rule is fitted for one network of each backbone, and several together are less "
            "confident: train final networks, or name one --fold"
        )
    with needs_train_extra():
        from kellgren.training.selection.assemble import build_bundle
        from kellgren.training.selection.cards.data_facts import StatedData

        knees = knees_to_learn_from(labels)
        rules = RULES if rule == "best" else (rule,)
        built = build_bundle(
            *(runs, knees, output, name or output.resolve().name),
            measure=by,
            rules=rules,
            fold=fold[0] if fold else None,
            weights=weights,
            stated=StatedData(data_name, licence, credit, population, limits),
        )
    terminal.show_card(built.card, built.checksum)
    terminal.warn(unstated(built.card))


@app.command(epilog="kellgren bundle quantise my-bundle --data knees.csv -o my-int8-bundle")
def quantise(
    folder: Annotated[Path, typer.Argument(help="Bundle with members in fp32.")],
    data: Annotated[Path, typer.Option(help="Data it was trained on: manifest or folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder for the bundle.")],
    folds: Annotated[
        Path | None,
        typer.Option(help="File of the folds it was trained on; default: dealt as training does."),
    ] = None,
    most: Annotated[
        int, typer.Option("--knees", min=0, help="Held-out knees that judge; 0: all of them.")
    ] = 0,
    name: Annotated[str, typer.Option(help="Name of the new bundle; default: as before.")] = "",
) -> None:
    """Compute a bundle's members in int8, each only if 99.5 % of held-out knees keep their grade.

    Needs the extra train. A member that is not accepted stays in fp32.
    """
    from kellgren.cli import terminal
    from kellgren.cli.extras import needs_train_extra
    from kellgren.cli.inputs import knees_to_learn_from
    from kellgren.data.splits import load_folds, make_folds
    from kellgren.grading.bundle import open_bundle

    bundle = open_bundle(folder)
    with needs_train_extra():
        from kellgren.training.selection.eight_bits.quantised_bundle import quantise as quantised

        knees = knees_to_learn_from(data)
        count = max(bundle.card.data.folds, 2)
        dealt = make_folds(knees, count) if folds is None else load_folds(folds)
        made = quantised(bundle, knees, dealt, output, name=name, most=most, say=terminal.note)
    terminal.show_card(made.card, made.checksum)


@app.command(
    epilog="kellgren bundle sets my-bundle --labels knees.csv --members results/oof -o with-sets"
)
def sets(
    folder: Annotated[Path, typer.Argument(help="Bundle with its predictions out of fold.")],
    labels: Annotated[Path, typer.Option(help="Data it was trained on: manifest or folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder for the bundle.")],
    members: Annotated[
        Path | None,
        typer.Option(help="Folder with each backbone's table out of fold, BACKBONE.csv.gz."),
    ] = None,
) -> None:
    """Fit grade sets, and when a grade is named, for a bundle that is there, and score it anew."""
    from kellgren.cli import terminal
    from kellgren.data.manifest import index
    from kellgren.data.matching import Label, Labels
    from kellgren.grading.bundle import open_bundle
    from kellgren.training.selection.cards.refit import refitted

    bundle = open_bundle(folder)
    truth = Labels(
        [
            Label(str(knee.image), knee.patient, int(knee.grade), knee.side)
            for knee in index(labels)
            if knee.grade is not None
        ]
    )
    fitted = refitted(bundle, truth, members, output)
    terminal.show_card(fitted.card, fitted.checksum)


@app.command(epilog="kellgren bundle show")
def show(
    folder: Annotated[
        Path | None, typer.Argument(help="Bundle; without it, the one in the package.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the whole card.")] = False,
) -> None:
    """Check a bundle and print its card."""
    from kellgren.cli import terminal
    from kellgren.grading.bundle import default_bundle, open_bundle

    bundle = open_bundle(folder or default_bundle())
    if json:
        typer.echo(bundle.card.model_dump_json(indent=2))
    else:
        terminal.show_card(bundle.card, bundle.checksum)


def unstated(card: Card) -> str:
    """What the card says "not stated" of, and how to state it; empty where all is stated."""
    facts = ("licence", "credit", "population", "limits")
    missing = [name for name in facts if getattr(card.data, name) == "not stated"]
    if not missing:
        return ""
    options = ", ".join(f"--{name}" for name in missing)
    return f"the card says 'not stated' of the data's {', '.join(missing)}; state it with {options}"
