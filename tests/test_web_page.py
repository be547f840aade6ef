"""The page in Chromium, used as a reader uses it. Skipped where Debian's Chromium is not installed.

KELLGREN_PICTURES names a folder for screenshots. KELLGREN_AXE names a folder that holds
axe.min.js (`python scripts/refresh_assets.py --axe FOLDER`); without it the accessibility check
is skipped.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from command_line import EXAMPLES
from web_room import Room, hand_in, reading_room

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = pytest.mark.skipif(
    not CHROMIUM.exists(), reason="Chromium is not installed: apt install chromium"
)
KNEES = sorted(EXAMPLES.glob("*.png"))
PATIENCE_MS = 120_000
PICTURES = os.environ.get("KELLGREN_PICTURES")
AXE = Path(os.environ.get("KELLGREN_AXE", ".")) / "axe.min.js"
SWITCHES = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
expect.set_options(timeout=PATIENCE_MS)
WIDE, NARROW = (1280, 800), (390, 844)
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


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """The real model, and names kept: the page has to bear with any."""
    store = tmp_path_factory.mktemp("room") / "store"
    with reading_room(store, None, "--workers", "2", "--keep-names") as opened:
        yield opened


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture
def page(room: Room, chromium: Browser) -> Iterator[Page]:
    """A reader's tab; whatever the console complains of, or leaves for another host, fails."""
    width, height = WIDE
    context = chromium.new_context(
        base_url=room.url, viewport={"width": width, "height": height}, reduced_motion="reduce"
    )
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((room.url, "blob:", "data:"))
            else complaints.append(request.url)
        ),
    )
    yield opened
    context.close()
    # Cases that are gone answer 404 by design.
    assert [complaint for complaint in complaints if "status of 404" not in complaint] == []


def drop(page: Page, files: list[Path]) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=re.compile("Choose films|Add films")).click()
    chooser.value.set_files(files)


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


def test_a_new_reader_drops_twenty_knees_and_reads(page: Page) -> None:
    page.goto("/")
    expect(page.get_by_role("heading", name="Drop knee X-rays here")).to_be_visible()
    expect(page.get_by_text("Research software, not a medical device.")).to_be_visible()
    expect(page.locator("#status")).to_have_text("Ready", timeout=PATIENCE_MS)
    picture(page, "empty")
    no_barriers(page)
    drop(page, KNEES)
    expect(page.locator("a.row.graded")).to_have_count(len(KNEES), timeout=PATIENCE_MS)
    drop(page, KNEES)
    expect(page.locator("a.row.graded")).to_have_count(2 * len(KNEES), timeout=PATIENCE_MS)
    for knee in KNEES:
        expect(page.get_by_text(knee.name)).to_have_count(2)
    expect(page.locator("#status")).to_have_text("Ready", timeout=PATIENCE_MS)
    picture(page, "work-list")
    no_barriers(page)

    page.get_by_role("button", name=re.compile("^Grade 4")).click()
    chips = page.locator("a.row .chip")
    expect(chips.first).to_be_visible()
    assert {chip[-1] for chip in chips.all_text_contents()} == {"4"}
    page.reload()
    expect(page.locator("a.row.graded")).to_have_count(2 * len(KNEES))


def test_a_case_is_looked_at(page: Page, room: Room) -> None:
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
    expect(page.locator(".verdict h2")).to_have_text(reading["name"].capitalize())
    expect(page.locator(".certainty h3")).to_contain_text(reading["certainty"].capitalize())
    assert page.locator(".probabilities tr").count() == 5
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
    page.locator(".atlas button").first.click()
    expect(page.locator(".pane.reference")).to_have_count(1)
    page.get_by_role("button", name="Close this knee").click()
    expect(page.locator(".pane.reference")).to_have_count(0)

    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    picture(page, "keys")
    no_barriers(page)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="Work-list")).to_be_visible()


def test_everything_goes_by_keyboard(page: Page, room: Room) -> None:
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


def test_a_refusal_says_why_and_a_deleted_case_is_gone(page: Page, room: Room) -> None:
    with room.client() as client:
        [case] = hand_in(client, ("letter.txt", b"Dear colleague,"))
    page.goto(case["page"])
    expect(page.get_by_text("The file is a text file. Name the X-ray itself.")).to_be_visible()
    picture(page, "refused")
    no_barriers(page)
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Work-list")).to_be_visible()
    with room.client() as client:
        assert client.get(case["url"]).status_code == 404
    page.goto(case["page"])
    expect(page.get_by_role("heading", name="No such case")).to_be_visible()


def test_no_name_runs(page: Page, room: Room) -> None:
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


def test_a_study_is_read_blind_by_keys_and_goes_on_after_a_reload(page: Page, room: Room) -> None:
    with room.client() as client:
        cases = hand_in(client, *KNEES[:4])
    page.goto("/studies")
    picture(page, "studies")
    no_barriers(page)
    with room.client() as client:
        chosen = [case["id"] for case in cases]
        study = client.post(
            "/api/v1/studies", json={"name": "Pilot", "readers": ["A", "B"], "cases": chosen}
        ).json()
    page.goto(study["readers"][0]["page"])
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
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert Path(download.value.path()).read_text().startswith("image,patient,side,grade")
