"""The choice among members in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from kellgren.cli.manners.narrow import fitted

if TYPE_CHECKING:
    from kellgren.training.selection.choice import Choice, ScoredProtocols

_MEASURED = ("qwk", "accuracy", "macro_f1")


def show_choice(choice: Choice, tested: ScoredProtocols | None, most: int) -> None:
    """Print the best candidates, the nested estimate of the choice, and the scores of a bundle."""
    from kellgren.cli.terminal import err, out

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("rule", "members", *_MEASURED):
        table.add_column(name, overflow="fold")
    rows = choice.rows()
    for row in rows[:most]:
        cells = (f"{row[key]:.4f}" for key in _MEASURED)
        table.add_row(row["rule"], Text(row["members"]), *cells)
    out.print(fitted(table, out))
    left = (
        f", {choice.predictions.left_out} held out by some only"
        if choice.predictions.left_out
        else ""
    )
    several = "s" if len(rows) > 1 else ""
    counted = f"{len(rows)} candidate{several}, {len(choice.predictions.knees)} knees{left}"
    out.print(f"\n{counted}", style="dim")
    out.print(f"{choice.measure} of the best, where it was chosen  {choice.naive:.4f}")
    out.print(f"nested estimate of the choice          {choice.chosen}")
    out.print(f"optimism                               {choice.optimism:+.4f}")
    rule = choice.estimated.combiner.rule
    for name, scores in (("alone", choice.single), ("with the other knee", choice.paired)):
        out.print(f"\nfor a bundle ({rule}, calibrated), each knee {name}, nested:", style="bold")
        for key in _MEASURED:
            out.print(f"  {key:<10} {getattr(scores, key)}")
    out.print("\ngain of the other knee:", style="bold")
    for key, gain in choice.estimated.gain.items():
        out.print(f"  {key:<10} {gain}")
    if tested is not None:
        for warning in tested.unseen.warnings:
            err.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
        optimism = tested.paper - tested.honest
        out.print(
            f"\n{len(tested.unseen.knees)} test knees, {tested.measure}: chosen on them "
            f"{tested.paper:.4f}, chosen out of fold {tested.honest:.4f}, optimism {optimism:+.4f};"
            f" the latter with all folds' networks {tested.all_folds:.4f}"
        )
