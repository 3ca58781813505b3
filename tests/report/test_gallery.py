"""The page of a run: what it says, what it holds, how large it gets. In a browser: test_report_page.py."""

import re
import subprocess

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from rar_cli.cli import app
from rar_cli.report.cards import card_of, point_out, shell_quoted
from rar_cli.report.figures import heatmap, rounds_strip
from rar_cli.report.gallery import Gallery
from rar_cli.report.views import SCALES, places_of_change, uri, views_of
from rar_cli.report.words import EVERYTHING
from tests.fakes import CPU
from tests.reports import NASTY, noise, page, record


def test_the_page_asks_nothing_of_anywhere_and_escapes_every_name(tmp_path):
    text = page(tmp_path).read_text()
    assert not re.search(r"(src|href)=[\"'](?:https?:)?//", text)
    assert "default-src 'none'" in text
    assert "<img src=x" not in text
    assert "damaged <script>" not in text
    assert "{{ 7*7 }}" in text
    assert "49 grün" not in text
    assert text.count('<article class="picture') == 42
    assert "x" * 300 in text


def test_links_lead_to_the_files_from_where_the_page_lies(tmp_path):
    folder, out = tmp_path / "in #1", tmp_path / "öut"
    for each in (folder, out):
        each.mkdir()
        (each / "a b.png").write_bytes(b"x")
    gallery = Gallery("t", 1)
    gallery.add({**record(str(folder / "a b.png")), "output": str(out / "a b.png")}, noise(0), noise(1))
    gallery.write(tmp_path / "sub" / "r.html", 1.0, 1.0)
    text = (tmp_path / "sub" / "r.html").read_text()
    assert 'href="../in%20%231/a%20b.png"' in text
    assert 'href="../%C3%B6ut/a%20b.png"' in text


@pytest.mark.parametrize("name", ["plain.png", "a b.png", "it's.png", "a\nb.png", "grün $x.png", "\udcff\udcfe.png"])
def test_a_shell_reads_a_quoted_name_as_it_is(name):
    shown = subprocess.run(["bash", "-c", f"printf %s {shell_quoted(name)}"], capture_output=True, check=True)
    assert shown.stdout.decode("utf-8", "surrogateescape") == name


def test_what_needs_an_eye_is_named_failed_first():
    cards = [card_of(record(f"{i}.png", before=10.0, after=20.0 + i), EVERYTHING) for i in range(12)]
    for i, card in enumerate(cards):
        card.change = float(i)
    reverted = {**record("back.png", "accepted"), "best_round": 0, "stop": "revert"}
    cards.append(card_of(reverted, EVERYTHING))
    cards.append(card_of({**record("bad.png", "failed"), "error": "bad.png: damaged"}, EVERYTHING))
    point_out(cards)
    assert {card.record["input"]: card.eye for card in cards if card.eye} == {
        "back.png": ["put back"], "bad.png": ["failed"],
        "0.png": ["gained least"], "1.png": ["gained least"],
        "10.png": ["changed most"], "11.png": ["changed most"],
    }  # fmt: skip


def test_gains_in_db_outweigh_those_of_the_score():
    told = record("a.png", before=10.0, after=90.0)
    told["rounds"][1]["found_gain_db"] = -0.5
    assert card_of(told, EVERYTHING).gain == -0.5


def test_crops_are_lossless_at_full_size_where_most_changed():
    before = noise(0, (300, 400))
    after = before.copy()
    after[200:240, 300:340] = 255 - after[200:240, 300:340]
    found = views_of(before, after, [], SCALES[-1])
    (top, left), *_ = places_of_change(before, after, 56, 2)
    assert top <= 200
    assert top + 56 >= 240
    assert left <= 300
    assert left + 56 >= 340
    import base64
    import io

    with Image.open(io.BytesIO(base64.b64decode(found.crops[0].after.split(",")[1]))) as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), after[top : top + 56, left : left + 56])


def test_places_of_change_do_not_overlap_and_an_unchanged_picture_has_none():
    before, after = noise(0, (200, 200)), noise(1, (200, 200))
    places = places_of_change(before, after, 50, 3)
    assert len(places) == 3
    for i, (top, left) in enumerate(places):
        assert all(abs(top - t) >= 50 or abs(left - c) >= 50 for t, c in places[:i])
    assert places_of_change(before, before, 50, 3) == []


def test_a_picture_left_alone_costs_the_page_one_picture():
    assert views_of(noise(0), noise(0), [], SCALES[0]).size < 0.6 * views_of(noise(0), noise(1), [], SCALES[0]).size


@pytest.mark.slow
def test_a_page_of_500_photographs_is_below_50_mb(tmp_path):
    gallery = Gallery("many", 500)
    pictures = [noise(i, (720, 1080)) for i in range(2)]  # noise compresses worse than any photograph
    smooth = [np.asarray(Image.fromarray(p).resize((270, 180)).resize((1080, 720))) for p in pictures]
    gallery.add(record(), *smooth)
    gallery.cards *= 500
    gallery.write(tmp_path / "r.html", 1.0, 1.0)
    assert (tmp_path / "r.html").stat().st_size < 50e6


def test_a_page_stays_below_50_mb_however_noisy_its_pictures_are(monkeypatch):
    monkeypatch.setattr("rar_cli.report.views.BUDGET", 600_000)
    gallery = Gallery("many", 3)
    for i in range(10):  # more than were expected
        gallery.add(record(f"{i}.png"), noise(i, (200, 300)), noise(i + 1, (200, 300)))
    views = [card.views for card in gallery.cards]
    assert sum(v.size for v in views if v) <= 600_000
    assert views[0] is not None
    assert len(views) == 10
    assert None in views


def test_more_pictures_than_the_page_shows_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("rar_cli.report.gallery.MOST", 3)
    text = page(tmp_path).read_text()
    assert "38 more pictures are in the round log" in text


def test_rounds_are_folded_away_under_the_names_of_what_they_removed(tmp_path):
    text = page(tmp_path, 1).read_text()
    assert re.search(r"<details class=\"rounds\"><summary>Step 1: noise</summary>", text)


def test_a_tile_says_how_the_score_went_and_a_picture_why_it_needs_an_eye(tmp_path):
    gallery = Gallery("t", 12)
    for i in range(12):
        gallery.add(record(f"{i}.png", before=42.0, after=70.0 if i else 56.0), noise(i), noise(i + 1))
    gallery.add_other({**record("bad.png", "failed"), "error": "bad.png: damaged"})
    gallery.write(tmp_path / "r.html", 1.0, 1.0)
    text = (tmp_path / "r.html").read_text()
    assert 'fair 42 <span aria-label="to">→</span> 56; noise' in text
    assert 'fair 42 <span aria-label="to">→</span> good 70; noise' in text
    assert "Needs your eye: gained least." in text
    assert "Needs your eye: failed." not in text  # its sentence says so


def test_of_a_picture_without_a_degradation_the_page_says_so_plainly(tmp_path):
    gallery = Gallery("t", 1)
    told = record("a.png", "accepted")
    told["rounds"][0]["degradations"] = told["rounds"][1]["degradations"]
    gallery.add(told, noise(0), noise(0))
    gallery.write(tmp_path / "r.html", 1.0, 1.0)
    assert "<p>No degradation found.</p>" in (tmp_path / "r.html").read_text()


def test_expected_and_found_gains_are_shown_where_the_record_has_them(tmp_path):
    gallery = Gallery("t", 1)
    told = record()
    told["rounds"][0].update(plan={"remove": ["noise"], "strength": 1.0}, expected_gain_db=2.04)
    told["rounds"][1]["found_gain_db"] = 1.5
    gallery.add(told, noise(0), noise(1))
    gallery.write(tmp_path / "r.html", 1.0, 1.0)
    assert "expected +2.0 dB, found +1.5 dB" in (tmp_path / "r.html").read_text()


def test_restore_writes_a_report_and_a_strip(folder, tmp_path, weights_dir):
    (folder / "bad.png").write_bytes(b"x")
    out = tmp_path / "out"
    args = ["restore", folder, out, "--report", tmp_path / "r.html", "--save-rounds", "--accept", "100"]
    result = CliRunner().invoke(app, [str(a) for a in (*args, "--weights", weights_dir)])
    assert result.exit_code == 1, result.output
    text = (tmp_path / "r.html").read_text()
    assert text.count('<article class="picture') == 4
    assert "bad.png" in text
    assert 'href="out/a.png"' in text
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

    assert heatmap(Engine(busy, CPU), torch.rand(1, 3, 150, 200)).shape == (150, 200, 3)
    common = ["--weights", str(weights_dir)]
    target = tmp_path / "heat.png"
    result = CliRunner().invoke(app, ["assess", str(folder / "a.png"), "--heatmap", str(target), *common])
    assert result.exit_code == 0, result.output
    with Image.open(target) as image:
        assert image.size == (56, 48)
    other = tmp_path / "other.png"
    result = CliRunner().invoke(app, ["assess", str(folder), "--heatmap", str(other), *common])
    assert result.exit_code == 2
    assert "needs one picture" in result.stderr
    assert result.stdout == ""  # before any picture was assessed
    assert not other.exists()


def test_a_thumbnail_is_never_enlarged():
    assert uri(noise(0), 1000, 80) == uri(noise(0), 60, 80)


def test_a_name_that_is_markup_stays_text(tmp_path):
    assert NASTY not in page(tmp_path).read_text()
