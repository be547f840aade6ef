"""The page in Chromium, used as a reader uses it. Skipped where Debian's Chromium is not installed.

KELLGREN_PICTURES names a folder for screenshots. KELLGREN_AXE names a folder that holds
axe.min.js (`python scripts/refresh_assets.py --axe FOLDER`); without it the accessibility check
is skipped.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from playwright.sync_api import (
    Browser,
    FloatRect,
    Locator,
    Page,
    Request,
    expect,
    sync_playwright,
)

from bundle_factory import make_bundle
from command_line import EXAMPLES
from damaged_files import small_knee
from dicom_factory import dicom_bytes, write_dicom
from dicom_headers import CR, DX, complete
from kellgren.grading.bundle import default_bundle, open_bundle
from web_room import RunningServer, hand_in, reading_room

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = pytest.mark.skipif(
    not CHROMIUM.exists(), reason="Chromium is not installed: apt install chromium"
)
KNEES = sorted(EXAMPLES.glob("*.png"))
FILM = Path(__file__).parents[1] / "frames" / "both.png"
PATIENCE_MS = 120_000
PICTURES = os.environ.get("KELLGREN_PICTURES")
AXE = Path(os.environ.get("KELLGREN_AXE", ".")) / "axe.min.js"
SWITCHES = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
expect.set_options(timeout=PATIENCE_MS)
WIDE, NARROW = (1280, 800), (390, 844)
# A closed sheet keeps the focus until the next frame; a key pressed by then is the page's.
CLOSED_AND_AT_ONCE_ESCAPE = """() => {
    document.querySelector("dialog").close();
    const press = new KeyboardEvent("keydown", { key: "Escape", bubbles: true });
    document.activeElement.dispatchEvent(press);
}"""
# A page that is well asks for the server's state every 15 seconds; no test waits for that.
IMPATIENT = """
const later = window.setTimeout;
window.setTimeout = (action, ms, ...rest) => later(action, Math.min(ms ?? 0, 700), ...rest);
"""
PAYLOADS = [
    "<script>window.hit=1</script>",
    "<img src=x onerror=window.hit=1>",
    "<svg onload=window.hit=1>",
    "\"><script>window.hit=1</script>",
    "'><img src=x onerror=window.hit=1>",
    "javascript:window.hit=1",
    "<a href=javascript:window.hit=1>x</a>",
    "<iframe srcdoc='<script>parent.hit=1</script>'>",
    "<body onload=window.hit=1>",
    "<details open ontoggle=window.hit=1>",
    "<video><source onerror=window.hit=1></video>",
    "<math><mtext><img src=x onerror=window.hit=1></mtext></math>",
    "<input autofocus onfocus=window.hit=1>",
    "<marquee onstart=window.hit=1>",
    "<object data='javascript:window.hit=1'>",
    "<embed src='javascript:window.hit=1'>",
    "<style>@import 'javascript:window.hit=1';</style>",
    "<link rel=stylesheet href=x onerror=window.hit=1>",
    "<meta http-equiv=refresh content='0;javascript:window.hit=1'>",
    "<base href='javascript:window.hit=1'>",
    "<template><img src=x onerror=window.hit=1></template>",
    "<noscript><p title='</noscript><img src=x onerror=window.hit=1>'>",
    "<textarea></textarea><img src=x onerror=window.hit=1>",
    "<svg><script>window.hit=1</script></svg>",
    "<svg><animate onbegin=window.hit=1 attributeName=x dur=1s>",
    "<img src=`x`onerror=window.hit=1>",
    "<img/src=x/onerror=window.hit=1>",
    "<IMG SRC=x ONERROR=window.hit=1>",
    "<<script>window.hit=1;//<</script>",
    "<scr<script>ipt>window.hit=1</scr</script>ipt>",
    "{{constructor.constructor('window.hit=1')()}}",
    "${window.hit=1}",
    "`-(window.hit=1)-`",
    "';window.hit=1;//",
    "\\u003cscript\\u003ewindow.hit=1\\u003c/script\\u003e",
    "&lt;script&gt;window.hit=1&lt;/script&gt;",
    "%3Cscript%3Ewindow.hit=1%3C%2Fscript%3E",
    "<div style='background:url(javascript:window.hit=1)'>",
    "<button popovertarget=x onclick=window.hit=1 autofocus>",
    "--><script>window.hit=1</script><!--",
]  # fmt: skip

TAGS = (
    *("PatientName", "StudyDescription", "SeriesDescription", "ImageComments"),
    *("BodyPartExamined", "ViewPosition", "ImageLaterality", "ProtocolName"),
)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The real model, and names kept: the page has to bear with any. One grader loads it."""
    store = tmp_path_factory.mktemp("room") / "store"
    with reading_room(store, None, "--workers", "1", "--keep-names") as opened:
        yield opened


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def tab(room: RunningServer, chromium: Browser) -> Iterator[Page]:
    """One tab for all tests: the first page of a new one takes a second of processor time."""
    width, height = WIDE
    context = chromium.new_context(
        base_url=room.url, viewport={"width": width, "height": height}, reduced_motion="reduce"
    )
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE_MS)
    yield opened
    context.close()


@pytest.fixture
def page(room: RunningServer, tab: Page) -> Iterator[Page]:
    """A reader's tab; whatever the console complains of, or leaves for another host, fails."""
    complaints: list[str] = []

    def request(asked: Request) -> None:
        if not asked.url.startswith((room.url, "blob:", "data:")):
            complaints.append(asked.url)

    listeners: dict[str, Callable[[Any], None]] = {
        "console": lambda message: complaints.append(message.text),
        "pageerror": lambda error: complaints.append(str(error)),
        "request": request,
    }
    for event, listener in listeners.items():
        tab.on(event, listener)
    yield tab
    for event, listener in listeners.items():
        tab.remove_listener(event, listener)
    tab.evaluate("sessionStorage.clear()")
    tab.goto("about:blank")
    tab.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
    # Cases that are gone answer 404 by design.
    assert [complaint for complaint in complaints if "status of 404" not in complaint] == []


def choose(page: Page, files: list[Path]) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=re.compile("Choose films|Add films")).click()
    chooser.value.set_files(files)


def drop(page: Page, *paths: Path) -> None:
    """Drag files or folders from the desktop over the page and let go, as a mouse does."""
    devtools = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    # The first move enters the veil that came up, the second is answered: the page takes them.
    for step in ("dragEnter", "dragOver", "dragOver", "drop"):
        devtools.send("Input.dispatchDragEvent", {"type": step, "x": 400, "y": 300, "data": data})
        if step != "drop":
            expect(page.get_by_text("Drop to read")).to_be_visible()
    expect(page.get_by_text("Drop to read")).to_be_hidden()
    devtools.detach()


def eight_knees(folder: Path) -> list[Path]:
    """Four examples, and four films made of them: DICOM, TIFF and JPEG, some mirrored."""
    folder.mkdir()
    made = []
    for number, knee in enumerate(KNEES[:4]):
        (folder / knee.name).write_bytes(knee.read_bytes())
        with Image.open(knee) as opened:
            picture = opened.convert("L")
        if number < 2:
            deep = np.asarray(picture).astype(np.uint16) * 16
            header = complete(DX if number % 2 else CR, knee.stem[-1])
            made.append(write_dicom(folder / f"film {number}", deep, bits=12, **header))
            continue
        other = "R" if knee.stem[-1] == "L" else "L"
        made.append(folder / f"{9000 + number}{other}{('.tiff', '.jpg')[number % 2]}")
        ImageOps.mirror(picture).save(made[-1])
    return [*(folder / knee.name for knee in KNEES[:4]), *made]


def no_joint() -> bytes:
    """A knee whose joint line is lost, as a PNG file: it is found and refused."""
    with Image.open(KNEES[0]) as knee:
        blurred = knee.convert("L").resize((8, 5), Image.Resampling.BOX).resize(knee.size)
    stream = io.BytesIO()
    blurred.save(stream, "PNG")
    return stream.getvalue()


def empty(room: RunningServer) -> None:
    """Delete all that other tests left."""
    with room.client() as client:
        for case in client.get("/api/v1/cases", params={"limit": 1000}).json()["cases"]:
            client.delete(case["url"])


def picture(page: Page, name: str) -> None:
    """Keep a screenshot for the documentation, if a folder is named."""
    if PICTURES is None:
        return
    for width, height in (WIDE, NARROW):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(400)
        path = Path(PICTURES) / f"{name}-{width}.jpg"
        page.screenshot(path=path, type="jpeg", quality=88)
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})


def no_barriers(page: Page) -> None:
    """axe-core finds nothing, where it is there."""
    if not AXE.is_file():
        return
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    seen = [(v["id"], [n["html"] for n in v["nodes"]][:3]) for v in found["violations"]]
    assert seen == [], json.dumps(seen, indent=1)


def test_an_example_is_graded_at_once(page: Page, capsys: pytest.CaptureFixture[str]) -> None:
    """The first minute of a new reader. How long it took is printed, and asserted nowhere."""
    page.goto("/")
    expect(page.get_by_role("heading", name="Drop knee X-rays here")).to_be_visible()
    expect(page.get_by_text("Research software, not a medical device.")).to_be_visible()
    expect(page.locator("#status")).to_have_text("Ready", timeout=PATIENCE_MS)
    picture(page, "empty")
    no_barriers(page)
    seconds = []
    for _ in range(3):
        began = time.monotonic()
        page.get_by_role("button", name="Try an example").click()
        expect(page.locator("a.row .chip")).to_be_visible()
        seconds.append(time.monotonic() - began)
        page.locator("a.row").click()
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(page.get_by_role("button", name="Try an example")).to_be_visible()
    with capsys.disabled():
        print(f"\nexample pressed to grade on screen: {min(seconds):.2f} to {max(seconds):.2f} s")


def test_a_new_reader_drops_eight_knees_and_reads(page: Page, tmp_path: Path) -> None:
    knees = eight_knees(tmp_path / "films")
    (tmp_path / "films" / "notes.txt").write_text("in a folder, other things are passed over")
    page.goto("/")
    expect(page.get_by_role("heading", name="Drop knee X-rays here")).to_be_visible()
    drop(page, *knees[:3])
    expect(page.locator("a.row.graded")).to_have_count(3)
    for knee in knees[:3]:
        expect(page.get_by_text(knee.name)).to_have_count(1)
    drop(page, tmp_path / "films")
    expect(page.locator("a.row.graded")).to_have_count(11)
    for knee in knees[3:]:
        expect(page.get_by_text(knee.name, exact=True)).to_have_count(1)
    expect(page.get_by_text("notes.txt")).to_have_count(0)
    expect(page.locator("#status")).to_have_text("Ready", timeout=PATIENCE_MS)
    choose(page, KNEES[:2])
    expect(page.locator("a.row.graded")).to_have_count(13)
    picture(page, "work-list")
    no_barriers(page)

    page.get_by_role("button", name=re.compile("^Grade 4")).click()
    chips = page.locator("a.row .chip")
    expect(chips.first).to_be_visible()
    assert {chip[-1] for chip in chips.all_text_contents()} == {"4"}
    page.reload()
    expect(page.locator("a.row.graded")).to_have_count(13)


def test_a_film_of_both_knees_is_one_case(page: Page) -> None:
    page.goto("/")
    expect(page.locator("a.row").first).to_be_visible()
    drop(page, FILM)
    row = page.locator("a.row.graded", has_text=FILM.name)
    expect(row.locator(".chip")).to_have_count(2)
    row.click()
    expect(page.locator(".pane[data-ready]")).to_have_count(2)
    tabs = page.locator(".tabs button")
    expect(tabs).to_have_count(2)
    first = page.locator(".probabilities").inner_text()
    tabs.nth(1).click()
    expect(tabs.nth(1)).to_be_focused()
    expect(page.locator(".probabilities")).not_to_have_text(first)
    picture(page, "film")
    no_barriers(page)


def test_a_reading_without_a_named_grade_says_so_and_why(page: Page, room: RunningServer) -> None:
    with room.client() as client:
        [case] = hand_in(client, EXAMPLES / "9637958L.png")
    reading = case["knees"][0]["reading"]
    assert not reading["named"]
    page.goto(case["page"])
    expect(page.locator(".numeral")).to_have_text("?")
    expect(page.locator(".verdict h2")).to_have_text("Not sure enough to name a grade")
    expect(page.locator(".verdict")).to_contain_text(f"Most probable: {reading['grade']}, ")
    expect(page.locator(".doubts li")).to_have_text([reading["doubts"][0].capitalize()])
    coverage = f"{100 * reading['grade_set']['coverage']:.1f} %"
    expect(page.locator(".certainty p")).to_contain_text(f"the label of {coverage} of held-out")
    expect(page.locator(".certainty h3")).to_contain_text(", right in ")
    expect(page.locator(".caption").first).to_contain_text(f"Most probable: {reading['grade']}")
    assert page.locator(".probabilities tr").count() == 5
    no_barriers(page)
    page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    page.goto("/")
    row = page.locator(f"a.row[href='{case['page']}']")
    expect(row.locator(".chip")).to_contain_text("?")
    expect(row.locator(".chip")).not_to_have_css("background-color", "rgba(0, 0, 0, 0)")
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW[0]
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
    of_grade = f"grade-{reading['grade']}"
    named = page.locator("a.row", has=page.locator(f".chip.{of_grade}")).count()
    expect(page.locator(f".filter.{of_grade} .count")).to_have_text(str(named))


def test_a_case_is_looked_at(page: Page, room: RunningServer) -> None:
    with room.client() as client:
        hand_in(client, EXAMPLES / "9177337R.png")
        [case] = hand_in(client, EXAMPLES / "9177337L.png")
    reading = case["knees"][0]["reading"]
    page.goto(case["page"])
    assert "9177337" not in page.url
    panes = page.locator(".pane[data-ready]")
    expect(panes).to_have_count(2)
    expect(page.locator(".side-label b")).to_have_text(["R", "L"])
    expect(page.locator(".numeral")).to_contain_text(str(reading["grade"]))
    told = open_bundle(default_bundle()).card.elsewhere[0]
    right, low, high = (
        f"{100 * getattr(told.delivered['accuracy'], part):.0f} %"
        for part in ("value", "low", "high")
    )
    elsewhere = page.get_by_text(f"Elsewhere, on {told.knees} knees")
    expect(elsewhere).to_contain_text(f"{right} (95 % interval {low} to {high}). Limits: one site")
    expect(page.locator(".verdict h2")).to_have_text(reading["name"].capitalize())
    expect(page.locator(".certainty h3")).to_contain_text(reading["certainty"].capitalize())
    assert page.locator(".probabilities tr").count() == 5
    expect(page.locator(".side-evidence tr").first).to_contain_text("The file's name")
    picture(page, "case")
    no_barriers(page)

    # The left knee is mirrored to the right one's orientation; H mirrors both, labels stay.
    boxes = [label.bounding_box() for label in page.locator(".side-label").all()]
    assert [pane.get_attribute("data-flipped") for pane in panes.all()] == ["false", "true"]
    page.keyboard.press("h")
    assert [pane.get_attribute("data-flipped") for pane in panes.all()] == ["true", "false"]
    assert [label.bounding_box() for label in page.locator(".side-label").all()] == boxes
    page.keyboard.press("h")

    # The map is off, shows while P is held, and stays with M.
    heat = page.locator(".heat").first
    expect(heat).to_have_css("opacity", "0")
    page.keyboard.down("p")
    expect(heat).to_have_css("opacity", "0.6")
    page.keyboard.up("p")
    expect(heat).to_have_css("opacity", "0")
    page.keyboard.press("m")
    expect(heat).to_have_css("opacity", "0.6")
    picture(page, "map")
    page.keyboard.press("m")

    # Inverting turns the window's slope round; dragging changes it; W puts it back.
    slope = page.locator("#window feFuncR, #window fefuncr").first
    expect(slope).to_have_attribute("slope", "1.0000")
    page.keyboard.press("i")
    expect(slope).to_have_attribute("slope", "-1.0000")
    page.keyboard.press("i")
    box = page.locator(".stage").first.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 90, y, steps=4)
    page.mouse.up()
    expect(slope).not_to_have_attribute("slope", "1.0000")
    page.keyboard.press("w")
    expect(slope).to_have_attribute("slope", "1.0000")

    # An atlas knee takes the other pane.
    page.locator(".strip button").first.click()
    expect(page.locator(".pane.reference")).to_have_count(1)
    page.get_by_role("button", name="Close this knee").click()
    expect(page.locator(".pane.reference")).to_have_count(0)

    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    picture(page, "keys")
    no_barriers(page)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.evaluate(CLOSED_AND_AT_ONCE_ESCAPE)
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("heading", name="Work-list")).to_be_visible()


def at_rest(shown: Locator) -> FloatRect:
    """Where something lies once the picture under it has not turned for a second."""
    box, same = shown.bounding_box(), 0
    while box is None or same < 10:
        shown.page.wait_for_timeout(100)
        before, box = box, shown.bounding_box()
        same = same + 1 if box == before else 0
    return box


def test_a_margin_of_the_joint_space_is_corrected(
    page: Page, room: RunningServer, tmp_path: Path
) -> None:
    """By pointer and by keys, on a mirrored and turned picture; it stays, and can be put back."""
    with room.client() as client:
        alone = tmp_path / "9000001L.png"  # of a patient whose other knee is not here
        shutil.copy(EXAMPLES / "9589486L.png", alone)
        [case] = hand_in(client, alone)
        found = case["knees"][0]["reading"]["joint_space"]
    page.goto(case["page"])
    margins = page.locator(".margins")
    expect(page.locator(".pane[data-ready]")).to_have_count(1)
    expect(page.locator(".pane")).to_have_attribute("data-flipped", "true")
    expect(margins).to_be_hidden()
    shown = [one["minimum"]["ratio"] for one in found["compartments"]]
    cells = page.locator(".widths .number:nth-child(2)")
    expect(cells).to_contain_text([f"{ratio:.3f}" for ratio in shown])
    page.keyboard.press("g")
    expect(margins).to_be_visible()
    picture(page, "joint-space")
    no_barriers(page)

    # The medial plateau of a left knee lies on the left; it is pulled up towards the femur.
    page.keyboard.press("r")
    page.keyboard.press("r")
    page.keyboard.press("r")  # mirrored and turned: its upper edge lies on the screen's right
    plateau = page.locator("[data-margin='medial tibia']")
    held = plateau.locator("[data-point='9']")
    box, before = at_rest(held), found["compartments"][0]["tibia"]["points"][9]
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 6, y, steps=3)
    expect(page.locator(".joint-space .tag")).to_have_text("corrected by hand")
    page.mouse.up()
    expect(page.locator("#say")).to_contain_text("corrected")
    now = space_of(room, case)
    assert now["corrected"]
    left, right = now["compartments"]
    assert (left["tibia"]["corrected"], left["femur"]["corrected"]) == (True, False)
    dragged = left["tibia"]["points"][9]
    assert dragged[0] == pytest.approx(before[0], abs=0.5)
    assert dragged[1] < before[1] - 1
    assert left["minimum"]["ratio"] < shown[0]
    assert left["minimum"]["ratio_uncertainty"] is None
    assert right["minimum"]["ratio"] == pytest.approx(shown[1], abs=2e-5)

    # The arrow keys move the chosen point as the screen shows it.
    expect(plateau).to_be_focused()
    page.keyboard.press(".")
    with page.expect_response(re.compile("/joint-space$")):
        page.keyboard.press("Alt+ArrowRight")
    expect(plateau).to_have_attribute(
        "aria-label", re.compile("^Medial margin of the tibia, point 11 of")
    )
    keyed = space_of(room, case)["compartments"][0]["tibia"]["points"]
    assert keyed[9] == dragged
    assert keyed[10][1] == pytest.approx(left["tibia"]["points"][10][1] - 0.5, abs=0.02)
    page.locator("[data-margin='lateral tibia']").focus()
    with page.expect_response(re.compile("/joint-space$")):
        page.keyboard.press("Alt+ArrowRight")
        shown_at_once = float(cells.nth(1).inner_text())
    kept = space_of(room, case)["compartments"][1]["minimum"]["ratio"]
    assert shown_at_once == pytest.approx(kept, abs=0.002)
    page.reload()
    expect(page.locator(".joint-space .tag")).to_have_text("corrected by hand")
    ratio = space_of(room, case)["compartments"][0]["minimum"]["ratio"]
    expect(cells.first).to_have_text(f"{ratio:.3f}")
    page.get_by_role("button", name="Back to what was found").click()
    expect(page.locator(".joint-space .tag")).to_have_count(0)
    assert space_of(room, case) == found


def space_of(room: RunningServer, case: dict[str, Any]) -> dict[str, Any]:
    """The joint space of a case's knee, as the server has it now."""
    with room.client() as client:
        reading: dict[str, Any] = client.get(case["url"]).json()["knees"][0]["reading"]
    space: dict[str, Any] = reading["joint_space"]
    return space


def test_similar_graded_knees_stand_beside_a_case(page: Page, room: RunningServer) -> None:
    with room.client() as client:
        [case] = hand_in(client, EXAMPLES / "9866738R.png")
        found = client.get(case["knees"][0]["similar"]).json()
    assert len(found["knees"]) == 6
    assert "Chen 2018" in found["credit"]
    assert "9866738" not in json.dumps(found)  # the film itself is in the index
    far = [knee["distance"] for knee in found["knees"]]
    assert far == sorted(far)
    page.goto(case["page"])
    expect(page.locator(".pane[data-ready]")).to_have_count(1)
    expect(page.get_by_role("button", name="Atlas", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    page.keyboard.press("s")
    knees = page.locator(".strip button")
    expect(knees).to_have_count(6)
    expect(page.locator(".atlas .small")).to_contain_text("CC BY 4.0")
    grades = [chip[-1] for chip in page.locator(".strip .chip").all_text_contents()]
    assert grades == [str(knee["grade"]) for knee in found["knees"]]
    expect(page.locator("#say")).to_have_text(
        f"The most similar knees have the grades {', '.join(grades)}"
    )
    knees.nth(1).focus()
    page.keyboard.press("Enter")
    expect(page.locator(".pane.reference[data-ready]")).to_have_count(1)
    expect(page.locator(".pane.reference")).to_contain_text(found["knees"][1]["file"])
    expect(knees.nth(1)).to_have_attribute("aria-pressed", "true")
    picture(page, "similar")
    no_barriers(page)
    page.get_by_role("button", name="Atlas", exact=True).click()
    expect(page.get_by_role("button", name="Atlas", exact=True)).to_be_focused()


def test_everything_goes_by_keyboard(page: Page, room: RunningServer) -> None:
    with room.client() as client:
        hand_in(client, KNEES[0], KNEES[1])
    page.goto("/")
    expect(page.locator("a.row").first).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(page.locator("a.row").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".pane[data-ready]").first).to_be_visible()
    first = page.url
    page.keyboard.press("j")
    expect(page).not_to_have_url(first)
    page.keyboard.press("k")
    expect(page).to_have_url(first)
    page.go_back()
    expect(page).not_to_have_url(first)


def test_a_refusal_says_why_and_a_deleted_case_is_gone(page: Page, room: RunningServer) -> None:
    with room.client() as client:
        [case, _] = hand_in(client, ("letter.txt", b"Dear colleague,"), ("blank.png", no_joint()))
    page.goto(case["page"])
    expect(page.get_by_text("The file is a text file. Name the X-ray itself.")).to_be_visible()
    picture(page, "refused")
    no_barriers(page)
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Work-list")).to_be_visible()
    shown = page.get_by_role("link", name="blank.png").locator(".thumb")
    expect(shown.locator("img")).to_have_js_property("naturalWidth", 224)
    expect(shown.locator(".icon")).to_be_visible()
    with room.client() as client:
        assert client.get(case["url"]).status_code == 404
    page.goto(case["page"])
    expect(page.get_by_role("heading", name="No such case")).to_be_visible()


def test_no_name_runs(page: Page, room: RunningServer) -> None:
    """Forty names that are programs, in the work-list and in their cases."""
    with room.client() as client:
        cases = [
            case
            for start in range(0, len(PAYLOADS), 20)
            for case in hand_in(
                client,
                *((f"{payload}.png", b"GIF89a") for payload in PAYLOADS[start : start + 20]),
            )
        ]
        graded = hand_in(
            client, *((f"{name}.png", KNEES[0].read_bytes()) for name in PAYLOADS[1:3])
        )
    assert len(cases) == 40
    named = [case for case in cases if "<" in case["image"]]
    assert len(named) == 20  # a slash ends a folder, and what stood before it is gone
    page.goto("/")
    expect(page.locator("a.row.refused").first).to_be_visible()
    assert page.evaluate("window.hit") is None
    shown = page.locator("#main").inner_text()
    assert "<img src=x onerror=window.hit=1>" in shown
    for case in [*named[:3], *graded]:
        page.goto(case["page"])
        expect(page.locator("h1")).to_contain_text(case["image"][:8])
        assert page.evaluate("window.hit") is None


def test_no_tag_of_a_film_runs(page: Page, room: RunningServer) -> None:
    """The same forty in eight elements of DICOM headers, in warnings, refusals and checks."""
    films = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # they are no valid values
        for start in range(0, len(PAYLOADS), len(TAGS)):
            named = dict(zip(TAGS, PAYLOADS[start : start + len(TAGS)], strict=True))
            films.append((f"{start}.dcm", dicom_bytes(small_knee(), **named)))
    with room.client() as client:
        cases = hand_in(client, *films)
    for case in cases:
        page.goto(case["page"])
        expect(page.locator(".panel, .card")).to_be_visible()
        assert page.evaluate("window.hit") is None


def test_a_side_that_sources_contradict_is_shown_as_unknown(
    page: Page, room: RunningServer
) -> None:
    film = dicom_bytes(small_knee(), ImageLaterality="L", Laterality="R")
    with room.client() as client:
        [case] = hand_in(client, ("film.dcm", film))
    page.goto(case["page"])
    expect(page.locator(".verdict .over")).to_have_text("Knee, side unknown")
    expect(page.locator(".warnings")).to_contain_text("ImageLaterality says left")
    expect(page.locator(".side-evidence td").first).to_have_text("Left")
    no_barriers(page)


def test_no_name_of_a_study_runs(page: Page, room: RunningServer) -> None:
    """The same forty as names of studies and readers, and as comments."""
    with room.client() as client:
        [case] = hand_in(client, KNEES[0])
        pages = ["/studies"]
        for start in range(0, len(PAYLOADS), 12):
            readers = PAYLOADS[start : start + 12]
            new = {"name": readers[0], "readers": readers, "cases": [case["id"]]}
            study = client.post("/api/v1/studies", json=new).json()
            for place, reader in enumerate(study["readers"]):
                own = f"/api/v1/studies/{study['id']}/readers/{reader['id']}"
                [item] = client.get(own).json()["items"]
                said = {"grade": place % 5, "seconds": 1, "comment": PAYLOADS[start + place]}
                client.put(f"{own}/reads/{item['item']}", json=said)
            pages += [f"/studies/{study['id']}", study["readers"][0]["page"]]
    for address in pages:
        page.goto(address)
        expect(page.locator(".study, .reveal").first).to_be_visible()
        assert page.evaluate("window.hit") is None
    assert PAYLOADS[36] in page.locator("h1").inner_text()
    assert page.locator("#comment").input_value() == PAYLOADS[36]


def test_a_study_is_read_blind_by_keys_and_goes_on_after_a_reload(
    page: Page, room: RunningServer
) -> None:
    """Keys alone, from the form to the table; the pointer is used for no step."""
    empty(room)
    with room.client() as client:
        for study in client.get("/api/v1/studies").json():
            client.delete(f"/api/v1/studies/{study['id']}")
        hand_in(client, *KNEES[:4])
    page.goto("/studies")
    page.locator("#study-name").focus()
    picture(page, "studies")
    no_barriers(page)
    page.keyboard.type("Pilot")
    page.keyboard.press("Tab")
    page.keyboard.type("A\nB")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Pilot")).to_be_visible()
    with room.client() as client:
        study = client.get("/api/v1/studies").json()[0]
    page.get_by_role("link", name="Read as A").focus()
    page.keyboard.press("Enter")
    counter = page.locator(".case-top .words")
    for place, key in enumerate(("2", "u"), start=1):
        expect(counter).to_have_text(f"{place} of 4")
        expect(page.locator(".reveal")).to_have_count(0)
        page.keyboard.press(key)
        expect(page.locator(".reveal")).to_be_visible()
        page.keyboard.press("Enter")
    expect(counter).to_have_text("3 of 4")
    page.reload()
    expect(counter).to_have_text("3 of 4")
    expect(page.locator(".pane[data-ready]")).to_have_count(1)
    page.keyboard.press("3")
    expect(page.locator(".reveal")).to_be_visible()
    picture(page, "study")
    no_barriers(page)
    page.keyboard.press("1")
    expect(page.locator(".reveal")).to_contain_text("You first read 3, then 1")
    page.keyboard.press("Enter")
    page.keyboard.press("4")
    expect(page.locator(".reveal")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_text("4 of 4 read")).to_be_visible()
    with room.client() as client:
        items = client.get(
            f"/api/v1/studies/{study['id']}/readers/{study['readers'][1]['id']}"
        ).json()["items"]
        for item in items:
            path = f"/api/v1/studies/{study['id']}/readers/{study['readers'][1]['id']}"
            client.put(f"{path}/reads/{item['item']}", json={"grade": 2, "seconds": 1})
    page.reload()
    expect(page.locator(".kappa")).to_have_count(3)
    expect(page.locator(".row.settle").first).to_be_visible()
    picture(page, "agreement")
    no_barriers(page)
    settle = page.get_by_role("group", name="Agreed grade").first.get_by_role("button", name="3")
    settle.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="3", pressed=True).first).to_be_visible()
    page.get_by_role("link", name="CSV").focus()
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    rows = list(csv.DictReader(Path(download.value.path()).read_text("utf-8").splitlines()))
    assert len(rows) == 4
    assert [row["A first"] for row in rows].count("U") == 1
    assert {row["B final"] for row in rows} == {"2"}
    assert "3" in {row["grade"] for row in rows}


def test_the_page_works_below_a_path_and_signs_out(chromium: Browser, tmp_path: Path) -> None:
    """Every address the page makes lies below the path that a proxy shows it at."""
    token, bundle = "a token of many letters", make_bundle(tmp_path / "tiny").folder
    options = ("--workers", "1", "--token", token, "--root-path", "/knees")
    with reading_room(tmp_path / "store", bundle, *options) as room:
        assert room.url.endswith("/knees")
        context = chromium.new_context(viewport={"width": WIDE[0], "height": WIDE[1]})
        context.add_init_script(IMPATIENT)
        page, outside = context.new_page(), list[str]()
        page.on("request", lambda asked: None if below(asked.url) else outside.append(asked.url))

        def below(url: str) -> bool:
            return url.startswith((f"{room.url}/", "blob:", "data:")) or url == room.url

        page.goto(f"{room.url}/")
        page.get_by_label("Token").fill("another one")
        page.get_by_role("button", name="Enter").click()
        expect(page.get_by_role("alert")).to_have_text("That is not this server's token")
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Enter").click()
        choose(page, [KNEES[0]])
        page.locator("a.row.graded").click()
        expect(page).to_have_url(re.compile(r"/knees/cases/[\w-]{16}$"))
        expect(page.locator("canvas").first).to_be_visible()
        page.reload()
        expect(page.locator("canvas").first).to_be_visible()
        page.get_by_role("link", name="Studies").click()
        expect(page).to_have_url(re.compile("/knees/studies$"))
        page.get_by_role("link", name="Work-list").click()
        expect(page.locator("a.row.graded")).to_be_visible()
        with closing(sqlite3.connect(tmp_path / "store" / "cases.sqlite")) as other:
            other.execute("BEGIN IMMEDIATE")
            trouble = "Server in trouble: another program holds the database locked"
            expect(page.locator("#status")).to_have_text(trouble)
        expect(page.locator("#status")).to_have_text("Ready")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Token")).to_be_visible()
        assert page.request.get(f"{room.url}/api/v1/cases").status == 401
        assert outside == []
        context.close()
