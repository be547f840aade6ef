"""How often networks agree with one another, and how often with the labels.

    python benchmarks/agreement.py inception-384 resnet101_v2-320 lite2-288 --oof results/oof \
        --data kneeKL299

Where networks that were trained apart agree on a grade that the readers did not give, no vote among
them can mend it. Each table holds the same knees, none of which its network learnt from.
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np

from kellgren.data.manifest import index
from kellgren.data.matching import Label, Labels, match
from kellgren.data.predictions import read_predictions


def main() -> None:
    """Read the tables, and print pairs, then all together."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="+", help="names of two or more tables, without their ends")
    parser.add_argument("--oof", type=Path, required=True, help="folder of out-of-fold tables")
    parser.add_argument("--data", type=Path, required=True, help="labels: folder or manifest")
    options = parser.parse_args()
    known = Labels(
        [
            Label(str(knee.image), knee.patient, int(knee.grade), knee.side)
            for knee in index(options.data)
            if knee.grade is not None
        ]
    )
    tables = [
        match(read_predictions(options.oof / f"{name}.csv.gz"), known) for name in options.tables
    ]
    if any(not np.array_equal(table.labels, tables[0].labels) for table in tables):
        raise SystemExit("the tables hold different knees: name tables of the same folds")
    truth, given = tables[0].truth, np.stack([table.predicted for table in tables])
    print(f"{len(truth)} knees\n\n| networks | same grade | both the label |\n|---|---|---|")
    for first, second in combinations(range(len(given)), 2):
        same, right = given[first] == given[second], given[first] == truth
        pair = f"{options.tables[first]}, {options.tables[second]}"
        print(f"| {pair} | {same.mean():.3f} | {(same & right).mean():.3f} |")
    same, right = (given == given[0]).all(axis=0), given == truth
    print("\neach has the label: " + ", ".join(f"{share:.3f}" for share in right.mean(axis=1)))
    print(f"all have the same grade: {same.mean():.3f}, the label for {right[0][same].mean():.3f}")
    print(f"all have the same grade and it is not the label: {(same & ~right[0]).mean():.3f}")
    print(f"none has the label: {(~right.any(axis=0)).mean():.3f}")


if __name__ == "__main__":
    main()
