"""What is refused, warned of and graded, kind by kind: tried, refused, warned, graded, sides.

    python benchmarks/gates.py --data kneeKL299 --frames frames [--parts sides headers letters]

Each part prints its own lines. `sides`: films of both knees, mirrored, under a header that says so
and under none; films of one knee with dirt, letters, a ruler or another leg's edge. `headers`: the
examples under headers that speak of another thing. `letters`: L and R drawn on real frames. Real
frames come first, then synthetic films of knees of fold 0, which neither the members of the default
bundle nor the knee detector learnt from.
Needs the train extra, which draws the films.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from letter_gates import letters
from side_gates import headers, sides

Part = Callable[[argparse.Namespace, Path], None]
PARTS: dict[str, Part] = {"sides": sides, "headers": headers, "letters": letters}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--frames", type=Path, required=True)
    parser.add_argument("--examples", type=Path, default=Path("examples"))
    parser.add_argument("--mirrored", type=int, default=100, help="films of both knees")
    parser.add_argument("--ghosts", type=int, default=500, help="films of one knee, with dirt")
    parser.add_argument("--letters", type=int, default=200, help="of each kind of font")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for part in options.parts:
            print(f"\n{part}", flush=True)
            PARTS[part](options, Path(folder))


if __name__ == "__main__":
    main()
