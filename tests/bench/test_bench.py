import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from rar_cli.bench.judging import average_precision, judge_assessor, judge_decisions
from rar_cli.bench.metrics import CAP_DB, Metric, luma, measure, metrics_here, psnr_db, psnr_y_db, ssim, ssim_y
from rar_cli.bench.peers import PEERS, command
from rar_cli.bench.run import Terms, bench
from rar_cli.bench.simple import simple_policies
from rar_cli.bench.suites import CDD11, NAMES, Pair, Suite, paired, synthetic
from rar_cli.cli import app
from rar_cli.engine.engine import Engine
from rar_cli.errors import ImageError, UsageError
from rar_cli.weights.find import find
from tests.conftest import ROOT
from tests.fakes import CPU


@pytest.fixture
def clean(tmp_path, photo):
    folder = tmp_path / "clean"
    folder.mkdir()
    for name in ("one", "two"):
        Image.fromarray(photo if name == "one" else photo[::-1].copy()).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def pairs(tmp_path, clean, photo):
    (tmp_path / "set" / "degraded").mkdir(parents=True)
    clean.rename(tmp_path / "set" / "reference")
    for path in (tmp_path / "set" / "reference").iterdir():
        noisy = np.asarray(Image.open(path), np.int16) + np.random.default_rng(0).integers(-20, 20, photo.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(tmp_path / "set" / "degraded" / path.name)
    return tmp_path / "set"


def test_metrics_agree_with_values_worked_out_by_hand():
    black = np.zeros((16, 16, 3), np.float32)
    grey = np.full((16, 16, 3), 0.1, np.float32)
    assert psnr_db(black, grey) == pytest.approx(20.0, abs=1e-5)
    assert psnr_db(black, black) == CAP_DB
    assert luma(black)[0, 0] == pytest.approx(16 / 255, abs=1e-6)
    assert luma(np.ones((1, 1, 3), np.float32))[0, 0] == pytest.approx(235 / 255, abs=1e-4)
    # constant pictures: SSIM is its luminance term, (2 m n + c1) / (m^2 + n^2 + c1), c1 = 1e-4
    expected = (2 * 0.3 * 0.5 + 1e-4) / (0.3**2 + 0.5**2 + 1e-4)
    flat = ssim(np.full((16, 16, 3), 0.3, np.float32), np.full((16, 16, 3), 0.5, np.float32))
    assert flat == pytest.approx(expected, abs=1e-5)
    assert ssim(grey, grey) == pytest.approx(1.0)
    # the luma of equal grey errors is scaled by 219/255
    assert psnr_y_db(black, grey) == pytest.approx(20 - 20 * np.log10(219 / 255), abs=1e-3)


def test_metrics_agree_with_torchs_own_arithmetic_on_real_pixels(photo):
    import torch
    import torch.nn.functional as F

    rng = np.random.default_rng(0)
    reference = (photo / 255).astype(np.float32)
    image = np.clip(reference + rng.normal(0, 0.05, reference.shape), 0, 1).astype(np.float32)
    x, y = (torch.from_numpy(a).permute(2, 0, 1)[:, None].double() for a in (image, reference))
    axis = torch.arange(-5, 6).double()
    g = torch.exp(-(axis**2) / (2 * 1.5**2))
    window = (g[:, None] * g / g.sum() ** 2)[None, None]

    def mean(a):
        return F.conv2d(a, window)

    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    table = ((2 * mx * my + 1e-4) * (2 * cov + 9e-4)) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
    assert ssim(image, reference) == pytest.approx(float(table.mean()), abs=1e-6)
    assert psnr_db(image, reference) == pytest.approx(float(-10 * (x - y).square().mean().log10()), abs=1e-6)


def test_pictures_too_small_for_a_window_still_have_every_metric():
    tiny = np.zeros((3, 3, 3), np.float32)
    assert measure(tiny, tiny)["ssim"] == 1.0
    assert ssim_y(tiny, tiny + np.float32(0.5)) == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_synthetic_suites_are_the_same_for_the_same_seed_and_differ_for_another(clean, name):
    first, again, other = (synthetic(name, clean, 1, seed) for seed in (0, 0, 1))
    assert len(first) == {"mid": 17, "singles": 27, "stacked": 7, "cdd11": 11, "noise": 3, "clean": 1, "grey": 20}[name]
    differs = []
    for a, b, c in zip(first, again, other, strict=True):
        x, y, z = (next(s.pairs()) for s in (a, b, c))
        assert np.array_equal(x.degraded, y.degraded)
        differs.append(not np.array_equal(x.degraded, z.degraded))
        if not a.name.endswith("clean"):
            assert not np.array_equal(x.degraded, x.reference)
        assert x.degraded.shape == x.reference.shape
        assert len(x.truth) == 9
    assert name == "clean" or sum(differs) > len(differs) // 2


def test_noise_suites_have_the_sigma_they_say(clean):
    for suite, sigma in zip(synthetic("noise", clean, 1, 0), (15, 25, 50), strict=True):
        pair = next(suite.pairs())
        assert np.std(pair.degraded - pair.reference) * 255 == pytest.approx(sigma, rel=0.03)


def test_grey_suites_have_no_colours_and_the_severities_of_the_coloured_ones(clean):
    coloured = [*synthetic("mid", clean, 1, 0), *synthetic("noise", clean, 1, 0)]
    for suite, like in zip(synthetic("grey", clean, 1, 0), coloured, strict=True):
        assert suite.name == f"grey {like.name}"
        pair = next(suite.pairs())
        assert pair.truth == next(like.pairs()).truth
        for image in (pair.degraded, pair.reference):
            assert image.shape[2] == 3
            assert np.ptp(image, axis=2).max() == 0


def test_cdd11_has_its_eleven_combinations():
    assert len(CDD11) == len(set(CDD11)) == 11


def test_pairs_are_found_by_name(pairs):
    (suite,) = paired(pairs / "degraded", pairs / "reference", None)
    assert [p.name for p in suite.pairs()] == ["one", "two"]
    (pairs / "reference" / "one.png").unlink()
    (pairs / "reference" / "two.png").unlink()
    with pytest.raises(UsageError, match="no two pictures share a name"):
        paired(pairs / "degraded", pairs / "reference", None)


@pytest.mark.parametrize("name", PEERS)
def test_every_peer_gives_a_picture_of_the_same_size_in_a_sane_range(name, photo):
    image = (photo / 255).astype(np.float32)
    found = PEERS[name](image)
    assert found.shape == image.shape
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


def test_any_command_can_be_a_peer_and_its_failure_names_it(photo):
    image = (photo / 255).astype(np.float32)
    name, copy = command("copy=cp {in} {out}")
    assert name == "copy"
    assert np.abs(copy(image) - image).max() < 1 / 255
    for bad in ("x=false {in} {out}", "x=no-such-program {in} {out}"):
        with pytest.raises(ImageError, match="peer x"):
            command(bad)[1](image)
    with pytest.raises(UsageError, match="--peer"):
        command("nothing")


@pytest.mark.slow
def test_a_gap_is_reported_and_never_makes_a_smaller_mean(busy, weights_dir, photo):
    good = (photo / 255).astype(np.float32)

    def broken():
        yield Pair("a", good, good)
        yield Pair("b", good, good[:-1])

    result = bench([Suite("s", 2, broken)], Engine(busy), find(str(weights_dir)), {}, Terms(max_rounds=1))
    assert result["complete"] is False
    assert result["suites"][0]["final"]["psnr_db"] is None
    assert result["suites"][0]["done"] == 1
    assert "b" in result["suites"][0]["gaps"][0]


@pytest.mark.slow
def test_closed_and_disjoint_loops_do_the_same_but_for_8_bit_pictures_between(tiny):
    import torch

    from rar_cli.bench.cost import closed_loop, disjoint_loop

    engine = Engine(tiny, CPU)
    image = torch.rand(1, 3, 32, 40)
    a, b = closed_loop(engine, image).float(), disjoint_loop(engine, image).float()
    assert a.shape == b.shape == image.shape
    assert (a - b).abs().max() <= 1


def test_average_precision_is_the_area_under_the_stepwise_curve():
    assert average_precision([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1]) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision([1, 1, 0], [0.9, 0.8, 0.1]) == 1.0
    assert average_precision([0, 0], [0.9, 0.1]) is None


def test_the_assessor_is_judged_by_rank_and_direction():
    def row(scores, psnr):
        rounds = [{"score": s, "psnr_db": p} for s, p in zip(scores, psnr, strict=True)]
        return {"truth": None, "found": [0.0] * 9, "rounds": rounds}

    found = judge_assessor([row([10, 20, 30], [15, 20, 25]), row([40, 35], [30.0, 28.0])])
    assert found["srcc"] == pytest.approx(1.0)
    assert found["direction_agreement"] == 1.0
    assert judge_assessor([row([10, 20], [20, 15.0])])["direction_agreement"] == 0.0
    assert found["mean_average_precision"] is None


def test_decisions_are_judged_by_what_rounds_gained_and_which_were_put_back():
    def row(best, *rounds):
        keys = ("round", "psnr_db", "expected_gain_db")
        return {"best_round": best, "rounds": [dict(zip(keys, (i, *r), strict=True)) for i, r in enumerate(rounds)]}

    gained, back, lost = (
        row(1, (20.0, 4.0), (25.0, None)),
        row(0, (30.0, 1.0), (28.0, None)),
        row(1, (20.0, 2.0), (19.0, None)),
    )
    found = judge_decisions([gained, back, lost])
    assert found["rounds"] == 3
    assert found["mean_gain_db"] == pytest.approx((5 - 2 - 1) / 3)
    assert found["expectation_error_db"] == pytest.approx((1 + 3 + 3) / 3)
    assert (found["put_back_of_lost"], found["put_back_of_gained"]) == (0.5, 0.0)
    assert judge_decisions([])["mean_gain_db"] is None


def test_simple_policies_are_peers_of_the_same_networks(busy):
    simple = simple_policies(Engine(busy, CPU))
    image = np.random.default_rng(0).random((24, 32, 3)).astype(np.float32)
    assert list(simple) == ["remove everything once", "accept or remove everything"]
    everything = simple["remove everything once"](image)
    assert everything.shape == image.shape
    assert not np.array_equal(everything, image)


def test_measures_without_a_reference_are_ranked_beside_the_score_on_what_they_can_judge():
    rounds = [
        {"score": 10, "psnr_db": 20.0, "blind": 5.0, "full": 1.0},
        {"score": 20, "psnr_db": 30.0, "blind": 4.0, "full": 1.0},
        {"score": 30, "psnr_db": 40.0, "blind": 3.0, "full": 1.0},
        {"score": 90, "psnr_db": 10.0, "blind": None, "full": 1.0},
    ]
    metrics = {
        "blind": Metric(lambda image, reference: 0.0, "1", "lower", "here", needs_reference=False),
        "full": Metric(lambda image, reference: 0.0, "1", "higher", "here"),
    }
    found = judge_assessor([{"truth": None, "found": [0.0] * 9, "rounds": rounds}], metrics)
    assert found["srcc_beside"] == {"blind": {"blind": pytest.approx(1.0), "score": pytest.approx(1.0)}}
    assert found["srcc"] < 0


def run(*args):
    return CliRunner().invoke(app, ["bench", *map(str, args)])


@pytest.mark.slow
def test_bench_prints_a_table_and_ends_in_one_line_of_json_that_a_second_run_repeats(pairs, weights_dir, tmp_path):
    outs = [tmp_path / "a.json", tmp_path / "b.json"]
    results = [run(pairs, "--weights", weights_dir, "--out", out, "--max-rounds", 2) for out in outs]
    assert all(r.exit_code == 0 for r in results), results[0].output
    digest = json.loads(results[0].stdout.splitlines()[-1])
    assert digest["complete"] is True
    assert "input dB" in results[0].stdout
    assert run(pairs, "--weights", weights_dir, "--report", tmp_path / "r.html").exit_code == 0
    assert (tmp_path / "r.html").read_text().count('class="tile') >= 2
    first, second = (json.loads(out.read_text()) for out in outs)
    assert first["suites"] == second["suites"]
    assert first["schema"] == 1
    assert {"seed", "version", "machine", "weights_sha256", "parameters"} <= set(first)
    stages = first["cost"]["stage_seconds"]
    assert set(stages) == {"read", "encode", "assess", "transport", "decode", "write"}
    assert all(seconds > 0 for seconds in stages.values())
    assert first["cost"]["flops_per_pixel"] > 1000
    for picture in first["pictures"]:
        assert [r["round"] for r in picture["rounds"]] == list(range(len(picture["rounds"])))
        assert picture["final"]["psnr_db"] == picture["rounds"][picture["best_round"]]["psnr_db"]


@pytest.mark.slow
def test_bench_takes_folders_suites_pairs_and_peers(clean, weights_dir):
    common = ("--weights", weights_dir, "--limit", 1, "--max-rounds", 1)
    assert "clean" in run(clean, *common).stdout
    assert "sigma 50" in run("noise", "--data", clean, *common).stdout
    peer = f"same={sys.executable} -c 'import shutil, sys; shutil.copy(*sys.argv[1:])' {{in}} {{out}}"
    result = run("clean", "--data", clean, "--peer", peer, *common)
    assert "same" in result.stdout
    assert run("--degraded", clean, "--reference", clean, *common).exit_code == 0


@pytest.mark.slow
def test_bench_of_a_broken_picture_shows_a_gap_and_ends_with_1(pairs, weights_dir):
    (pairs / "degraded" / "two.png").write_bytes(b"x")
    result = run(pairs, "--weights", weights_dir)
    assert result.exit_code == 1
    assert "gap" in result.stdout
    assert "two.png" in result.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nowhere"], "neither a folder nor a suite"),
        (["noise"], "give their folder with --data"),
        (["--degraded", "x"], "go together"),
        (["clean", "--data", "nowhere"], "no such folder"),
    ],
)
def test_bench_that_cannot_run_says_why_with_code_2(weights_dir, args, message):
    result = run(*args, "--weights", weights_dir)
    assert result.exit_code == 2
    assert message in result.stderr


SAMPLE_PAIRS = sorted((ROOT / "samples" / "degraded").glob("*.png"))


@pytest.mark.slow
@pytest.mark.parametrize("path", SAMPLE_PAIRS, ids=lambda p: p.stem)
def test_metrics_agree_with_opencv_and_torchmetrics_on_stored_pairs(path):
    import cv2
    from torchmetrics.functional.image import structural_similarity_index_measure

    degraded, clean = (cv2.imread(str(p))[..., ::-1] for p in (path, ROOT / "samples" / "clean" / path.name))
    image, reference = ((x / 255).astype(np.float32) for x in (degraded, clean))
    found = measure(image, reference, metrics_here())
    assert found["psnr_db"] == pytest.approx(cv2.PSNR(degraded.copy(), clean.copy()), abs=1e-4)
    x, y = (torch.from_numpy(a.copy()).permute(2, 0, 1)[None].double() for a in (image, reference))
    theirs = float(structural_similarity_index_measure(x, y, data_range=1.0, kernel_size=11, sigma=1.5))
    assert found["ssim"] == pytest.approx(theirs, abs=0.01)  # they count mirrored borders too
    assert 0 < found["ms_ssim"] < 1
    assert 0 <= found["piqe"] <= 100


@pytest.mark.slow
def test_every_metric_names_its_unit_direction_and_package(photo):
    image = (photo / 255).astype(np.float32)
    metrics = metrics_here()
    assert {"psnr_db", "psnr_y_db", "ssim", "ssim_y", "ms_ssim", "piqe"} <= set(metrics)
    assert {m.better for m in metrics.values()} == {"higher", "lower"}
    assert [n for n, m in metrics.items() if not m.needs_reference] == ["piqe"]
    same = measure(image, image, metrics)
    assert same["psnr_db"] == CAP_DB
    assert same["ssim"] == pytest.approx(1.0)
    assert measure(image, image, {"ms_ssim": metrics["ms_ssim"]})["ms_ssim"] in (None, pytest.approx(1.0))


def test_metrics_that_need_weights_are_left_out_without_them(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert not {"lpips", "dists"} & set(metrics_here())


def test_sixteen_bit_pairs_are_measured_at_their_own_depth(tmp_path):
    import cv2

    rng = np.random.default_rng(0)
    reference = rng.integers(0, 65536, (24, 32, 3), dtype=np.uint16)
    degraded = reference ^ np.uint16(3)  # less than one step of 8 bits
    for name, pixels in (("degraded", degraded), ("reference", reference)):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "deep.png"), pixels)
    (suite,) = paired(tmp_path / "degraded", tmp_path / "reference", None)
    pair = next(suite.pairs())
    mse = np.mean(((degraded.astype(np.float64) - reference) / 65535) ** 2)
    assert 80 < psnr_db(pair.degraded, pair.reference) < CAP_DB
    assert psnr_db(pair.degraded, pair.reference) == pytest.approx(-10 * np.log10(mse), abs=0.05)


@pytest.mark.slow
def test_plots_are_drawn_from_the_document(pairs, weights_dir, tmp_path):
    command_line = ["bench", str(pairs), "--weights", str(weights_dir), "--plots", str(tmp_path / "plots"), "--quiet"]
    result = CliRunner().invoke(app, command_line)
    assert result.exit_code == 0, result.output
    names = sorted(p.name for p in (tmp_path / "plots").iterdir())
    assert names == sorted(f"{n}.{k}" for n in ("bars", "rounds", "time") for k in ("png", "svg"))
    with Image.open(tmp_path / "plots" / "rounds.png") as drawn:
        assert drawn.width > 500
    assert b"quality against time" in (tmp_path / "plots" / "time.svg").read_bytes()


def test_bench_without_its_extra_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "skimage" else name)
    done = CliRunner().invoke(app, ["bench"])
    assert done.exit_code == 2
    assert done.stderr == 'rar: rar bench needs scikit-image: pip install "rar-cli[bench]"\n'


def test_plots_without_matplotlib_say_what_to_install(pairs, weights_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "matplotlib" else name)
    result = CliRunner().invoke(app, ["bench", str(pairs), "--plots", str(tmp_path / "plots")])
    assert result.exit_code == 2
    assert result.stderr == 'rar: --plots needs matplotlib: pip install "rar-cli[bench]"\n'


def test_a_limit_takes_pictures_from_all_of_a_folder(tmp_path):
    for i in range(10):
        Image.new("RGB", (16, 16), (i, i, i)).save(tmp_path / f"{i}.png")
    (suite,) = synthetic("clean", tmp_path, 5, 0)
    assert suite.expected == 5
    assert [pair.name for pair in suite.pairs()] == ["0", "2", "4", "6", "8"]
