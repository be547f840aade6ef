"""What a training run shows while it goes on: a bar for reading, one for all of its epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.progress import Progress

from kellgren.cli import terminal
from kellgren.training.member.loop import Watcher


class Bars(Watcher):
    """Bars of one run at a time; what was scored is a line, which stays.

    Args:
        bar: to draw in.
    """

    def __init__(self, bar: Progress) -> None:
        self.bar = bar
        self.reading = bar.add_task("", total=None, now="reading", visible=False)
        self.learning = bar.add_task("", total=None, now="", visible=False)
        self.now = ""
        self.title = ""

    def loading(self, done: int, total: int) -> None:
        """Knees are read at a stage's beginning."""
        self.bar.update(self.reading, completed=done, total=total, visible=done < total)

    def epoch_begins(self, epoch: int, epochs: int, size: int, steps: int) -> None:
        """The bar counts steps over all epochs."""
        self.now = f"{self.title}epoch {epoch + 1}/{epochs} at {size}"
        done, total = epoch * steps, epochs * steps
        self.bar.update(self.learning, completed=done, total=total, visible=True)

    def step(self, loss: float | None) -> None:
        """One batch further; until a loss is known, the last epoch's is in its line above."""
        loss_words = "" if loss is None else f", loss {loss:.3f}"
        self.bar.update(self.learning, advance=1, now=f"{self.now}{loss_words}")

    def epoch_ends(self, record: dict[str, Any]) -> None:
        """A line an epoch."""
        terminal.err.print(f"{self.title}{epoch_words(record)}")

    def predicting(self, done: int, total: int) -> None:
        """Held-out knees are graded by the finished member."""
        self.bar.update(self.learning, visible=False)
        now = f"{self.title}held-out knees"
        self.bar.update(self.reading, completed=done, total=total, visible=done < total, now=now)


def epoch_words(record: Mapping[str, Any]) -> str:
    """An epoch's record as a line."""
    names = (("accuracy", "accuracy"), ("QWK", "qwk"))
    scores = ", ".join(f"{name} {record[key]:.3f}" for name, key in names if key in record)
    held_out = f", held out: {scores}" if scores else ""
    loss, minutes = record["loss"], record["minutes"]
    took = f"{minutes:.1f} min" if minutes >= 1 else f"{60 * minutes:.0f} s"
    return f"epoch {record['epoch']}: loss {loss:.3f}{held_out} ({took})"
