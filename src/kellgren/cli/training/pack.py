"""`kellgren train pack`, `train merge`, `data pack`, `data unpack`: from machine to machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kellgren.archives import Advance, Contents

PACK = "kellgren train pack campaign -o results --piece-mb 15"
MERGE = "kellgren train merge elsewhere/campaign results --out campaign"
PACK_KNEES = "kellgren data pack kneeKL299 -o knees --piece-mb 15"
UNPACK_KNEES = "kellgren data unpack knees -o kneeKL299"
_Out = Annotated[Path, typer.Option("--output", "-o", help="Folder for the pieces, new or empty.")]
_Size = Annotated[float, typer.Option(min=0.001, help="Most megabytes (10^6) of a piece.")]


def pack_campaign(
    folder: Annotated[Path, typer.Argument(help="Folder of a campaign.")],
    output: _Out,
    piece_mb: _Size = 15,
    pieces_most: Annotated[
        int | None,
        typer.Option(min=2, help="Most files, the manifest among them; the rest is left out."),
    ] = None,
    tables_only: Annotated[
        bool, typer.Option("--tables-only", help="Predictions and scores, no members (ONNX).")
    ] = False,
    after: Annotated[
        list[Path] | None,
        typer.Option(help="Manifest of an earlier pack, whose files are not packed again."),
    ] = None,
) -> None:
    """Pack what a campaign has finished, in checked pieces, for `train merge`; no checkpoints.

    Where not all has room: tables first, then members trained on all knees, then fold members.
    Kept epochs are not packed.

    Needs the extra train.
    """
    from kellgren.archives import MEGABYTE
    from kellgren.cli import terminal
    from kellgren.cli.extras import needs_train_extra

    with needs_train_extra():
        from kellgren.training.campaign.pack import pack_campaign as pack

        with _bytes_bar("packing") as advance:
            packed = pack(
                folder,
                output,
                int(piece_mb * MEGABYTE),
                most_files=pieces_most,
                tables_only=tables_only,
                after=after or (),
                advance=advance,
            )
    for name in packed.without_member:
        terminal.err.print(f"without its member (ONNX): {name}", style="yellow", markup=False)
    for name in packed.left_out:
        terminal.err.print(f"left out, as there is no room: {name}", style="yellow", markup=False)
    if packed.unfinished:
        terminal.err.print(f"not finished, and not packed: {len(packed.unfinished)} jobs")
    terminal.out.print(f"{len(packed.whole)} jobs whole; {_described(packed.contents)} -> {output}")


def merge(
    others: Annotated[
        list[Path], typer.Argument(help="Campaign folders of other machines, or packs of them.")
    ],
    out: Annotated[Path, typer.Option(help="Campaign that takes over what they finished.")],
) -> None:
    """Take over finished jobs of the same plan; what is finished here stays.

    Needs the extra train.
    """
    from kellgren.cli import terminal
    from kellgren.cli.extras import needs_train_extra

    with needs_train_extra():
        from kellgren.training.campaign.merge import merge as take_over

        with _bytes_bar("unpacking") as advance:
            merged = take_over(others, out, advance)
    for name in merged.taken:
        terminal.out.print(f"taken over: {name}", markup=False, soft_wrap=True)
    for name in merged.set_aside:
        terminal.err.print(f"half-trained run moved to set-aside/{name}", style="dim")
    for problem, names in (
        ("left alone, as somebody is at it here", merged.busy),
        ("not whole yet, kept in incomplete/", merged.incomplete),
        ("a part of another run than in incomplete/, left out", merged.other_runs),
    ):
        for name in names:
            line = f"{problem}: {name}"
            terminal.err.print(line, style="yellow", markup=False, soft_wrap=True)
    terminal.out.print(f"{len(merged.taken)} taken over, {len(merged.kept)} were finished here")


def pack_knees(
    data: Annotated[Path, typer.Argument(help="Folder of knees, or a manifest.")],
    output: _Out,
    piece_mb: _Size = 15,
    training_only: Annotated[
        bool, typer.Option("--training-only", help="Leave the test splits out.")
    ] = False,
) -> None:
    """Pack knees, byte for byte, in checked pieces."""
    from kellgren.archives import MEGABYTE
    from kellgren.cli import terminal
    from kellgren.data.pack import pack_knees as pack

    with _bytes_bar("packing") as advance:
        contents = pack(
            data,
            output,
            int(piece_mb * MEGABYTE),
            training_only=training_only,
            advance=advance,
        )
    summary = f"{len(contents.files)} files; {_described(contents)} -> {output}"
    terminal.out.print(summary, markup=False, soft_wrap=True)


def unpack_knees(
    pieces: Annotated[
        list[Path], typer.Argument(help="Folders of pieces, or a manifest and its pieces.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the knees.")],
) -> None:
    """Unpack knees, after every piece was checked; equal files that lie there stay."""
    from kellgren.cli import terminal
    from kellgren.data.pack import unpack

    with _bytes_bar("unpacking") as advance:
        unpacked = unpack(pieces, output, advance=advance)
    summary = f"{len(unpacked.written)} files written, {len(unpacked.kept)} were there -> {output}"
    terminal.out.print(summary, markup=False, soft_wrap=True)


def register(train: typer.Typer, data: typer.Typer) -> None:
    """Add the commands to `kellgren train` and `kellgren data`."""
    train.command("pack", epilog=PACK)(pack_campaign)
    train.command(epilog=MERGE)(merge)
    data.command("pack", epilog=PACK_KNEES)(pack_knees)
    data.command("unpack", epilog=UNPACK_KNEES)(unpack_knees)


@contextmanager
def _bytes_bar(description: str) -> Iterator[Advance]:
    """A bar of megabytes on standard error."""
    from kellgren.archives import MEGABYTE
    from kellgren.cli import terminal

    with terminal.progress(description) as bar:
        task = bar.add_task("", total=None, now="MB")
        yield lambda done, of: bar.update(
            task, completed=done // MEGABYTE, total=-(-of // MEGABYTE)
        )


def _described(contents: Contents) -> str:
    from kellgren.archives import MEGABYTE

    size = sum(piece.bytes for piece in contents.pieces) / MEGABYTE
    return f"{size:.1f} MB in {len(contents.pieces)} pieces"
