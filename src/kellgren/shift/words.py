"""What a comparison found, in words and as a record."""

from __future__ import annotations

from kellgren.shift.quantities import QUANTITIES, Key, Quantity
from kellgren.shift.two_samples import Change, Shift

_BY_KEY: dict[Key, Quantity] = {it.key: it for it in QUANTITIES}


def name_of(key: Key) -> str:
    """Of a quantity, for people."""
    return _BY_KEY[key].name


def moved_words(change: Change) -> str:
    """From what to what, such as ``median 0.450 to 0.381``; of grades the one that moved most."""
    if change.key == "grade":
        apart = [now - then for then, now in zip(change.before, change.after, strict=True)]
        grade = max(range(len(apart)), key=lambda place: abs(apart[place]))
        return f"grade {grade} {change.before[grade]:.1%} to {change.after[grade]:.1%}"
    return f"median {change.before[1]:.3f} to {change.after[1]:.3f}"


def verdict_words(shift: Shift) -> str:
    """One or two sentences: what changed, and where to look."""
    if not shift.noticed:
        return (
            f"No change noticed: {_listed([it.key for it in shift.changes])} of {shift.patients} "
            f"patients are like those of {shift.reference} patients of the reference. That does "
            "not prove that none is there."
        )
    told = "; ".join(f"{name_of(it.key)}, {moved_words(it)}" for it in shift.noticed)
    if any(_BY_KEY[it.key].of_picture for it in shift.noticed):
        look = (
            "The pictures are not as they were: look at detector, exposure, processing and export "
            "before you trust the grades."
        )
    else:
        look = (
            "The pictures seem to be as they were: look at who is sent to be X-rayed, and whether "
            "films of both knees became films of one."
        )
    return f"Changed: {told}. {look}"


def missing_words(shift: Shift) -> str:
    """What could not be compared; empty: nothing."""
    if not shift.missing:
        return ""
    return (
        f"Not compared, because not in both: {_listed(list(shift.missing))}. Readings have it "
        "since version 0.2; grade the pictures again."
    )


def record_of(shift: Shift) -> dict[str, object]:
    """The comparison as plain values for JSON."""
    return {
        "changed": bool(shift.noticed),
        "words": verdict_words(shift),
        "patients": shift.patients,
        "reference_patients": shift.reference,
        "false_alarms": shift.false_alarms,
        "not_compared": list(shift.missing),
        "quantities": [
            {
                "quantity": it.key,
                "name": name_of(it.key),
                "summary": "share of each grade" if it.key == "grade" else "quartiles",
                "before": [round(value, 4) for value in it.before],
                "after": [round(value, 4) for value in it.after],
                "statistic": round(it.statistic, 4),
                "p": round(it.p_value, 6),
                "p_corrected": round(it.corrected, 6),
                "changed": it.noticed,
            }
            for it in shift.changes
        ],
    }


def _listed(keys: list[Key]) -> str:
    names = [name_of(key) for key in keys]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
