import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from rar_cli.cli import app
from rar_cli.report.figures import heatmap, rounds_strip
from rar_cli.report.gallery import Gallery
from rar_cli.report.words import outcome
from rar_cli.types import DEGRADATIONS

CHROMIUM = shutil.which("chromium")
NASTY = "<img src=x onerror=alert(1)>\"'&</script>{{ 7*7 }} grün \n " + "x" * 300 + ".png"


def record(name="a.png", status="restored", before=30.0, after=70.0, worst="noise"):
    severities = {d.value: 0.8 if d.value == worst else 0.05 for d in DEGRADATIONS}
    rounds = [
        {"round": i, "score": s, "verdict": "repeat", "reason": "why <b>not</b>", "degradations": severities}
        for i, s in enumerate((before, after))
    ]
    return {
        "input": name, "status": status, "stop": "accept", "best_round": 1, "score_before": before,
        "score_after": after, "width": 60, "height": 40, "rounds": rounds, "error": None,
    }  # fmt: skip


def noise(seed, side=(40, 60)):
    return np.random.default_rng(seed).integers(0, 256, (*side, 3), dtype=np.uint8)


def page(tmp_path, count=40):
    gallery = Gallery("a <title> & more")
    for i in range(count):
        worst = ("noise", "rain", "haze")[i % 3]
        status = "accepted" if i % 5 == 0 else "restored"
        gallery.add(record(f"p{i:03d}.png", status, 30 + i % 7, 60 + i % 11, worst), noise(i), noise(i + 1))
    gallery.add(record(NASTY, before=1.0), noise(1), noise(2), [noise(3)], {"psnr_db": 30.0})
    failed = {**record("bad.png", "failed"), "error": "bad.png: damaged <script>"}
    gallery.add_other(failed)
    gallery.write(tmp_path / "r.html", 3.0, 1.0)
    return tmp_path / "r.html"


@pytest.mark.parametrize(
    ("best", "stop", "said"),
    [
        (0, "accept", "good as it is"),
        (0, "revert", "put back as it was"),
        (1, "accept", "restored"),
        (2, "revert", "restored, last put back"),
        (4, "exhausted", "restored, all rounds used"),
    ],
)
def test_how_a_loop_ended_is_said_in_words(best, stop, said):
    assert outcome({**record(), "best_round": best, "stop": stop}) == said


def test_the_page_asks_nothing_of_anywhere_and_escapes_every_name(tmp_path):
    text = page(tmp_path).read_text()
    assert not re.search(r"(src|href)=[\"'](?!data:)", text)
    assert "<img src=x" not in text
    assert "damaged <script>" not in text
    assert "{{ 7*7 }}" in text
    assert "49 grün" not in text
    assert text.count('class="card"') == 41
    assert "x" * 300 in text
    for holder in re.findall(r'class="pictures">(.*?)</script>', text, re.S):
        assert json.loads(holder)["before"].startswith("data:image/webp;base64,")


def test_a_page_of_500_photographs_is_below_50_mb(tmp_path):
    gallery = Gallery("many")
    pictures = [noise(i, (720, 1080)) for i in range(2)]  # noise compresses worse than any photograph
    smooth = [np.asarray(Image.fromarray(p).resize((270, 180)).resize((1080, 720))) for p in pictures]
    gallery.add(record(), *smooth)
    gallery.cards *= 500
    gallery.write(tmp_path / "r.html", 1.0, 1.0)
    assert (tmp_path / "r.html").stat().st_size < 50e6


def test_more_pictures_than_the_page_shows_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("rar_cli.report.gallery.MOST", 3)
    text = page(tmp_path).read_text()
    assert "38 more pictures are in the round log" in text


def test_restore_writes_a_report_and_a_strip(folder, tmp_path, weights_dir):
    (folder / "bad.png").write_bytes(b"x")
    out = tmp_path / "out"
    args = ["restore", folder, out, "--report", tmp_path / "r.html", "--save-rounds", "--accept", "100"]
    result = CliRunner().invoke(app, [str(a) for a in (*args, "--weights", weights_dir)])
    assert result.exit_code == 1, result.output
    text = (tmp_path / "r.html").read_text()
    assert text.count('class="card"') == 3
    assert "bad.png" in text
    rounds = len(list((out / "rounds").glob("a.png.round[0-9].png")))
    assert rounds >= 1
    with Image.open(out / "rounds" / "a.png.rounds.png") as strip:
        assert strip.width == 56 * (rounds + 1)


def test_a_strip_has_one_column_per_picture():
    strip = rounds_strip([noise(0), noise(1), noise(2)], ["a", "b", "c"])
    assert strip.shape[1] == 180
    assert strip.shape[0] > 40


def test_a_heat_map_is_as_large_as_its_picture(busy, folder, tmp_path, weights_dir):
    import torch

    from rar_cli.engine.engine import Engine

    assert heatmap(Engine(busy, "cpu", "float32"), torch.rand(1, 3, 150, 200)).shape == (150, 200, 3)
    common = ["--weights", str(weights_dir)]
    target = tmp_path / "heat.png"
    result = CliRunner().invoke(app, ["assess", str(folder / "a.png"), "--heatmap", str(target), *common])
    assert result.exit_code == 0, result.output
    with Image.open(target) as image:
        assert image.size == (56, 48)
    result = CliRunner().invoke(app, ["assess", str(folder), "--heatmap", str(target), *common])
    assert result.exit_code == 2
    assert "needs one picture" in result.stderr


@pytest.fixture
def browser():
    """Headless Chromium; the page is a file, so the network guard is not in its way."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        launched = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield launched
        launched.close()


@pytest.mark.parametrize("size", [(1280, 900), (390, 844)], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_works_in_a_browser(browser, tmp_path, size, scheme):
    tab = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    faults, asked = [], []
    tab.on("console", lambda m: faults.append(m.text) if m.type in {"error", "warning"} else None)
    tab.on("pageerror", lambda e: faults.append(str(e)))
    tab.on("request", lambda r: asked.append(r.url) if not r.url.startswith(("file:", "data:")) else None)
    tab.goto(page(tmp_path).as_uri())
    first = tab.locator(".card:visible").first
    # the slider moves the cut
    first.locator("input").evaluate("e => { e.value = 20; e.dispatchEvent(new Event('input')); }")
    assert first.locator(".compare").evaluate("e => e.style.getPropertyValue('--cut')") == "20%"
    assert first.locator(".before").evaluate("e => e.complete && e.naturalWidth > 0")
    # filters and orders
    tab.select_option("#filter", "found:rain")
    assert tab.locator(".card:visible").count() == 13
    tab.select_option("#filter", "accepted")
    assert tab.locator(".card:visible").count() == 8
    tab.select_option("#filter", "failed")
    assert tab.locator(".card:visible").count() == 0
    assert "bad.png" in tab.locator("section").inner_text()
    tab.select_option("#filter", "")
    tab.select_option("#order", "gain")
    gains = [float(c.get_attribute("data-gain")) for c in tab.locator(".card").all()]
    assert gains == sorted(gains, reverse=True)
    # keys
    tab.locator("body").click(position={"x": 2, "y": 2})
    tab.keyboard.press("j")
    tab.keyboard.press("j")
    assert tab.evaluate("[...document.querySelectorAll('.card')].indexOf(document.activeElement)") == 1
    tab.keyboard.press("ArrowRight")
    moved = tab.evaluate("document.activeElement.querySelector('.compare').style.getPropertyValue('--cut')")
    assert moved == "55%"
    # the place of greatest change, enlarged
    tab.locator(".card:focus .detail button").first.click()
    assert tab.locator("#zoom").is_visible()
    tab.keyboard.press("Escape")
    # nothing sticks out on a phone, nothing was asked of anywhere
    assert tab.evaluate("document.documentElement.scrollWidth") <= size[0]
    tab.screenshot(path=tmp_path / "shot.png")
    assert faults == []
    assert asked == []
