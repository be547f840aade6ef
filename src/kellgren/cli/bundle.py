"""`kellgren bundle`: build, show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Model bundles: make one of a run, look at its card.")


@app.command(epilog="kellgren bundle build runs/inception-0 --labels knees.csv -o my-bundle")
def build(
    run: Annotated[Path, typer.Argument(help="Folder of a finished training run.")],
    labels: Annotated[Path, typer.Option(help="Data it was trained on: manifest or folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder for the bundle.")],
    name: Annotated[str, typer.Option(help="Of the bundle.")] = "default",
) -> None:
    """Make a bundle of a run: calibrated and scored on its out-of-fold predictions."""
    from kellgren import terminal
    from kellgren.cli.extras import needs_train_extra
    from kellgren.manifest import for_training, index

    with needs_train_extra():
        from kellgren.training.assemble import build_bundle

        built = build_bundle(run, for_training(index(labels), labels), output, name)
    terminal.show_card(built.card, built.checksum)


@app.command(epilog="kellgren bundle show")
def show(
    folder: Annotated[
        Path | None, typer.Argument(help="Bundle; without it, the one in the package.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the whole card.")] = False,
) -> None:
    """Check a bundle and print its card."""
    from kellgren import terminal
    from kellgren.bundle import default_bundle, open_bundle

    bundle = open_bundle(folder or default_bundle())
    if json:
        typer.echo(bundle.card.model_dump_json(indent=2))
    else:
        terminal.show_card(bundle.card, bundle.checksum)
