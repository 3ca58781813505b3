"""The page of a run in real Chromium: mouse, finger, keys, paper, at three sizes."""

import re
import shutil

import numpy as np
import pytest
from PIL import Image

from rar_cli.report.gallery import Gallery
from tests.reports import noise, page, record

pytestmark = pytest.mark.slow  # a browser starts

CHROMIUM = shutil.which("chromium")
SIZES = {"desktop": (1280, 900), "tablet": (820, 1100), "phone": (390, 844)}
HOLD_MS = 350


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium; pages are files, so the network guard is not in its way."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as play:
        launched = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return page(tmp_path_factory.mktemp("report"))


@pytest.fixture
def opened(browser, path):
    """open(size, ...) -> a tab on the page; afterwards: no fault was logged, nothing was asked of anywhere."""
    faults, asked, contexts = [], [], []

    def open_page(size="desktop", touch=False, scheme="light", **options):
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=touch, **options
        )
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda m: faults.append(m.text) if m.type in {"error", "warning"} else None)
        tab.on("pageerror", lambda e: faults.append(str(e)))
        tab.on("request", lambda r: asked.append(r.url) if not r.url.startswith(("file:", "data:")) else None)
        tab.goto(path.as_uri())
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []
    assert asked == []


def cut(tab):
    """Where the divider of the open picture stands, in percent."""
    value = tab.locator(".picture.open .compare").evaluate("e => e.style.getPropertyValue('--cut')")
    return float(value.rstrip("%") or 50)


def sees_before(tab):
    return tab.locator(".picture.open .after").evaluate("e => getComputedStyle(e).visibility") == "hidden"


def box_of(tab, selector):
    return tab.locator(selector).first.bounding_box()


def open_first(tab, touch=False):
    link = tab.locator(".tile.restored .photo").first
    link.tap() if touch else link.click()
    tab.wait_for_selector(".picture.open .after img")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_and_the_bar_is_one_line(opened, size, scheme):
    tab = opened(size, scheme=scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    assert box_of(tab, ".bar")["height"] < 60
    tab.locator(".tile").first.focus()
    tab.evaluate("mark('0', 'keep'); mark('3', 'back')")  # the bar has its button now
    assert tab.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    assert box_of(tab, ".bar")["height"] < 60
    open_first(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    picture, height = box_of(tab, ".picture.open .compare"), SIZES[size][1]
    assert picture["x"] >= 0
    assert picture["x"] + picture["width"] <= SIZES[size][0] + 0.5
    assert picture["y"] + picture["height"] <= height
    assert abs(picture["width"] / picture["height"] - 1.5) < 0.02


@pytest.mark.parametrize("size", SIZES)
def test_a_mouse_drags_the_divider_on_the_picture(opened, size):
    tab = opened(size)
    open_first(tab)
    box = box_of(tab, ".picture.open .compare")
    middle = box["y"] + box["height"] / 2
    tab.mouse.move(box["x"] + box["width"] / 2, middle)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 0.3 * box["width"], middle + 20, steps=5)
    assert abs(cut(tab) - 30) < 1.5
    tab.mouse.move(box["x"] + 0.8 * box["width"], middle, steps=5)
    assert abs(cut(tab) - 80) < 1.5
    tab.mouse.up()
    tab.mouse.move(box["x"] + 0.1 * box["width"], middle)
    assert abs(cut(tab) - 80) < 1.5  # let go


@pytest.mark.parametrize("size", SIZES)
def test_a_finger_drags_the_divider_on_the_picture(opened, size):
    tab = opened(size, touch=True)
    open_first(tab, touch=True)
    box = box_of(tab, ".picture.open .compare")
    session = tab.context.new_cdp_session(tab)

    def touch(kind, share):
        point = {"x": box["x"] + share * box["width"], "y": box["y"] + box["height"] / 2}
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [] if kind == "touchEnd" else [point]})

    def drag(share):
        """A finger is never quite still; the browser may hold a move back until the next one."""
        for tremble in range(40):
            touch("touchMove", share + 0.0005 * (tremble % 3))
            if abs(cut(tab) - 100 * share) < 1.5:
                break
            tab.wait_for_timeout(50)

    touch("touchStart", 0.5)
    for share in (0.45, 0.4, 0.3):
        touch("touchMove", share)
    drag(0.25)
    assert abs(cut(tab) - 25) < 1.5
    drag(0.7)
    touch("touchEnd", 0.7)
    assert abs(cut(tab) - 70) < 1.5


@pytest.mark.parametrize("touch", [False, True], ids=["mouse", "finger"])
def test_press_and_hold_shows_the_picture_as_it_was(opened, touch):
    tab = opened("phone" if touch else "desktop", touch=touch)
    open_first(tab, touch)
    box = box_of(tab, ".picture.open .compare")
    x, y = box["x"] + box["width"] / 3, box["y"] + box["height"] / 3
    session = tab.context.new_cdp_session(tab)
    if touch:
        session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    else:
        tab.mouse.move(x, y)
        tab.mouse.down()
    assert not sees_before(tab)
    tab.wait_for_timeout(HOLD_MS)
    assert sees_before(tab)
    if touch:
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    else:
        tab.mouse.up()
    assert not sees_before(tab)
    assert cut(tab) == 50


def test_a_tile_held_shows_before_and_does_not_open(opened):
    tab = opened()
    tile = tab.locator(".tile.restored:has(img[data-before])").first
    after = tile.locator("img").get_attribute("src")
    box = tile.locator(".photo").bounding_box()
    tab.mouse.move(box["x"] + 20, box["y"] + box["height"] - 20)
    tab.mouse.down()
    tab.wait_for_timeout(HOLD_MS)
    assert tile.locator("img").get_attribute("src") == tile.locator("img").get_attribute("data-before")
    assert tile.locator(".badge").is_visible()
    tab.mouse.up()
    assert tile.locator("img").get_attribute("src") == after
    tab.wait_for_timeout(50)
    assert tab.locator(".picture.open").count() == 0


def test_keys_blink_walk_mark_and_close(opened):
    tab = opened()
    open_first(tab)
    tab.keyboard.down(" ")
    assert sees_before(tab)
    tab.keyboard.up(" ")
    assert not sees_before(tab)
    first = tab.locator(".picture.open").get_attribute("id")
    tab.keyboard.press("k")
    assert tab.locator(".picture.open [data-mark=keep]").get_attribute("aria-pressed") == "true"
    tab.keyboard.press("ArrowRight")
    second = tab.locator(".picture.open").get_attribute("id")
    assert second != first
    tab.keyboard.press("ArrowLeft")
    assert tab.locator(".picture.open").get_attribute("id") == first
    tab.locator(".picture.open .compare input").focus()
    tab.keyboard.press("ArrowRight")  # of the slider now
    assert cut(tab) == 51
    tab.locator(".picture.open .close").focus()
    tab.keyboard.press("Escape")
    tab.wait_for_selector(".picture.open", state="hidden")
    assert tab.evaluate("document.activeElement.closest('.tile').id") == "t" + first[1:]
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate("document.activeElement.closest('.tile').id") != "t" + first[1:]


def test_the_way_back_of_the_browser_closes_a_picture(opened):
    tab = opened()
    open_first(tab)
    tab.go_back()
    tab.wait_for_selector(".picture.open", state="hidden")


def test_filters_and_orders(opened):
    tab = opened()
    assert tab.locator("#eye .tile").first.get_attribute("class") == "tile failed"
    assert "damaged <script>" in tab.locator("#eye .tile").first.inner_text()
    tab.select_option("#filter", "found:rain")
    assert tab.locator(".tile:visible").count() == 13
    tab.select_option("#filter", "is:left alone")
    assert tab.locator(".tile:visible").count() == 8
    tab.select_option("#filter", "is:failed")
    assert tab.locator(".tile:visible").count() == 1
    tab.select_option("#filter", "")
    for order, sign in (("change", -1), ("score", 1)):
        tab.select_option("#order", order)
        values = [sign * float(t.get_attribute(f"data-{order}")) for t in tab.locator(".tile:visible").all()]
        assert values == sorted(values)
        assert len(values) == 42
    tab.select_option("#order", "name")
    assert tab.locator(".tile").nth(1).get_attribute("data-name") == "bad.png"
    tab.select_option("#order", "eye")
    assert tab.locator("#eye .tile").first.get_attribute("class") == "tile failed"


def test_marks_become_a_file_list_for_the_shell_and_survive_a_reload(browser, tmp_path):
    gallery = Gallery("t", 3)
    for name in ("it's.png", "b c.png", "d.png"):
        (tmp_path / name).write_bytes(b"x")
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / name).write_bytes(b"x")
        told = {**record(str(tmp_path / name)), "output": str(tmp_path / "out" / name)}
        gallery.add(told, noise(0), noise(1))
    gallery.write(tmp_path / "r.html", 1.0, 1.0)
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    tab = context.new_page()
    tab.goto((tmp_path / "r.html").as_uri())
    tab.locator(".tile").nth(0).hover()
    tab.locator(".tile").nth(0).get_by_text("Keep").click()
    tab.locator(".tile").nth(1).hover()
    tab.locator(".tile").nth(1).get_by_text("Put back").click()
    assert tab.locator(".picture.open").count() == 0
    tab.reload()
    assert tab.locator("#marked").inner_text() == "Marks 2"
    tab.locator("#marked").click()
    tab.locator("[data-copy=keep]").click()
    tab.wait_for_function("document.getElementById('copied').textContent")
    assert tab.evaluate("navigator.clipboard.readText()") == f"'{tmp_path}/out/it'\"'\"'s.png'"
    tab.locator("[data-copy=commands]").click()
    tab.wait_for_function("navigator.clipboard.readText().then(t => t.startsWith('cp'))")
    commands = tab.evaluate("navigator.clipboard.readText()")
    assert commands == f"cp -p -- '{tmp_path}/b c.png' '{tmp_path}/out/b c.png'"
    tab.keyboard.press("Escape")
    tab.select_option("#filter", "mark:keep")
    assert tab.locator(".tile:visible").count() == 1
    context.close()


@pytest.mark.parametrize("size", SIZES)
def test_it_reads_without_javascript(opened, size):
    tab = opened(size, java_script_enabled=False)
    assert tab.locator(".bar").is_hidden()
    assert tab.locator(".tile").count() == 42
    first = tab.locator(".picture.restored").first
    assert first.locator(".sentence").inner_text().startswith("Restored: noise")
    before, after = (first.locator(f".compare .{end} img").bounding_box() for end in ("before", "after"))
    assert before["x"] + before["width"] <= after["x"]
    assert after["x"] + after["width"] <= SIZES[size][0]
    first.locator("summary").click()
    assert "why <b>not</b>" in first.locator("table").inner_text()


def test_it_prints_every_picture_before_and_after(opened):
    tab = opened()
    open_first(tab)
    paper = tab.pdf(format="A4")
    pages = len(re.findall(rb"/Type\s*/Page\b", paper))
    assert 6 <= pages <= 60
    assert tab.locator("noscript").count() == 0  # all were filled in for the paper


def test_crops_are_shown_at_their_own_size(opened):
    tab = opened()
    open_first(tab)
    image = tab.locator(".picture.open .pair img").first
    width, natural = image.evaluate("e => [e.getBoundingClientRect().width, e.naturalWidth]")
    assert natural == 40
    assert width == natural


def test_a_page_of_500_pictures_opens_in_two_seconds(browser, tmp_path):
    """The sheet is painted within two seconds, beside whatever else runs; all of the page takes so much of one core."""
    gallery = Gallery("many", 500)
    coarse = [Image.fromarray(noise(i, (48, 72))).resize((1080, 720)) for i in range(2)]
    gallery.add(record(), *(np.asarray(image) for image in coarse), [np.asarray(coarse[0])])
    gallery.cards = [card_like(gallery.cards[0]) for _ in range(500)]
    gallery.write(tmp_path / "r.html", 1.0, 1.0)
    assert 40e6 < (tmp_path / "r.html").stat().st_size < 50e6  # as large as a page may be
    painted, loaded = [], []
    for _ in range(3):  # the best of three is what the page takes
        tab, before = browser.new_page(), cpu_seconds(browser)
        tab.goto((tmp_path / "r.html").as_uri(), wait_until="load")
        loaded.append(cpu_seconds(browser) - before)
        painted.append(tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        assert tab.locator(".tile").count() == 500
        assert tab.locator("*").count() < 8000  # what nobody looks at yet is no element
        assert tab.locator("img").count() < 200
        tab.close()
    assert min(painted) < 2000, painted
    assert min(loaded) < 2.0, loaded


def cpu_seconds(browser):
    """What all processes of the browser have computed so far."""
    told = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")
    return sum(process["cpuTime"] for process in told["processInfo"])


def card_like(card):
    """A card of its own with the pictures of another."""
    from dataclasses import replace

    return replace(card, eye=[], links={}, shell={})
