"""Make the documentation's pictures again: after a change of the default model, or of the page.

    python scripts/remake_pictures.py --data kneeKL299

docs/pictures/graded-knee.png is the sheet of an example knee, report.png the evaluation of the
default model's out-of-fold predictions, the others are screenshots by
tests/web/test_web_page.py. Needs Debian's Chromium.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from kellgren import Ensemble
from kellgren.grading.bundle import default_bundle

HERE = Path(__file__).parents[1]
PICTURES = HERE / "docs" / "pictures"
CHROMIUM = "/usr/bin/chromium"
REPORT = "885,1125"  # width and height of its first screen
SCREENS = ("work-list", "case", "similar", "study", "agreement")


def report(data: Path, folder: Path) -> bytes:
    """The first screen of the default model's evaluation."""
    page = folder / "report.html"
    table = default_bundle() / "out_of_fold.csv"
    words = ["evaluate", str(table), "--labels", str(data), "--html", str(page)]
    words += ["--map-knees", "0"]  # it shows further down: a minute for nothing
    subprocess.run([sys.executable, "-m", "kellgren", *words], check=True)
    shot = folder / "report.png"
    switches = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    where = [f"--screenshot={shot}", f"--window-size={REPORT}", page.as_uri()]
    subprocess.run([CHROMIUM, *switches, *where], check=True, capture_output=True)
    return shot.read_bytes()


def screens(folder: Path) -> None:
    """Screenshots of the reading room, those that the documentation shows."""
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(HERE / "tests" / "web" / "test_web_page.py")],
        check=True,
        cwd=HERE,
        env={**os.environ, "KELLGREN_PICTURES": str(folder)},
    )
    for name in SCREENS:
        for path in folder.glob(f"{name}-*.jpg"):
            (PICTURES / path.name).write_bytes(path.read_bytes())


def main() -> None:
    """Make them all, or those that need no data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="published data, for report.png")
    parser.add_argument("--no-screens", action="store_true", help="leave the reading room's")
    options = parser.parse_args()
    [reading] = Ensemble.default(threads=1).read(HERE / "examples" / "9511862R.png")
    (PICTURES / "graded-knee.png").write_bytes(reading.overlay())
    with tempfile.TemporaryDirectory() as scratch:
        if options.data is not None:
            with Image.open(io.BytesIO(report(options.data, Path(scratch)))) as picture:
                # A page of text and lines: a palette of its own costs nothing but bytes.
                flat = picture.convert("RGB").quantize(256)
            flat.save(PICTURES / "report.png", optimize=True)
        if not options.no_screens:
            screens(Path(scratch))


if __name__ == "__main__":
    main()
