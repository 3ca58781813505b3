"""Blur read from the power spectrum: what energies cannot tell, in pieces or whole, on any size."""

import math

import cv2
import numpy as np
import pytest
import torch

from rar_cli.networks.adapters import AssessorParams, BlurTokens
from rar_cli.networks.assessor import Assessor
from rar_cli.networks.blur import BlurReader
from rar_cli.networks.model import RarParams
from rar_cli.networks.restorer import Restorer, RestorerParams
from rar_cli.synthesis.recipes import Recipe, Step
from rar_cli.train import reader as fitting
from rar_cli.types import Degradation

REACH = 12


@pytest.fixture
def reader(codec) -> BlurReader:
    reader = BlurReader(48, REACH, 8, 4)
    reader.see_with(codec)
    return reader


def moved_along(degrees: float, length: int = 9) -> torch.Tensor:
    """A picture of noise, blurred by a straight motion, (1, 3, 192, 192)."""
    kernel = np.zeros((length, length), np.float32)
    middle, half = length // 2, length // 2
    across, down = half * math.cos(math.radians(degrees)), half * math.sin(math.radians(degrees))
    ends = [(round(middle + sign * across), round(middle + sign * down)) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    noise = np.random.default_rng(0).random((192, 192, 3), np.float32)
    blurred = cv2.filter2D(noise, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)
    return torch.from_numpy(blurred).permute(2, 0, 1)[None]


def at(cepstrum: torch.Tensor, x: int, y: int) -> float:
    return cepstrum.view(2 * REACH + 1, REACH + 1)[y + REACH, x].item()


def test_the_cepstrum_tells_one_diagonal_from_the_other(codec, reader):
    falling, rising = (reader.cepstrum(codec.encode(moved_along(degrees))) for degrees in (45, -45))
    lag = 3
    assert at(falling, lag, lag) > at(falling, lag, -lag) + 0.1
    assert at(rising, lag, -lag) > at(rising, lag, lag) + 0.1


@pytest.mark.slow
def test_luminance_comes_through_the_latent_as_it_is(codec, reader):
    image = torch.rand(2, 3, 96, 128)
    direct = BlurReader(3, REACH, 8, 1)
    direct.luma.copy_(torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1))
    torch.testing.assert_close(reader.cepstrum(codec.encode(image)), direct.cepstrum(image), rtol=0, atol=1e-4)


@pytest.mark.parametrize("height", [48, 100, 131])
def test_bands_of_a_large_latent_give_what_the_whole_gives(reader, height):
    latent = torch.randn(1, 48, height, 40)
    torch.testing.assert_close(reader.cepstrum(latent, 20), reader.cepstrum(latent), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 40), (16, 15)])
def test_pictures_smaller_than_a_block_are_read_too(reader, height, width):
    assert reader(torch.randn(2, 48, height, width)).isfinite().all()


def test_an_even_picture_has_a_description(codec, reader):
    assert reader(codec.encode(torch.full((1, 3, 64, 64), 0.5))).isfinite().all()


@pytest.mark.slow
def test_fitting_measures_cepstra_and_evens_out_what_the_tokens_say(codec, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(fitting, "STEPS", 20)
    photos = list(np.random.default_rng(1).integers(0, 256, (4, 192, 192, 3), np.uint8))
    tokens = BlurTokens(AssessorParams(blur_reach=REACH, blur_width=16, blur_tokens=1))
    fitting.fit_reader(tokens, codec, photos, seed=0, pictures=60)
    assert tokens.reader.usual[1].min() >= fitting.LEAST_DEVIATION
    told = torch.cat([tokens(codec.encode(moved_along(degrees)), None)[1] for degrees in (0, 30, 60, 90, 120, 150)])
    assert 0.1 < told.std(0).mean() < 30.0


@pytest.mark.slow
def test_descriptions_keep_what_tells_kernels_apart_and_drop_the_rest(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(fitting, "STEPS", 300)
    kernels = torch.cat([torch.ones(200, 6), -torch.ones(200, 6)]) * 0.1
    cepstra = torch.cat([kernels * 5, torch.randn(400, 20)], 1)
    describe = torch.nn.Sequential(torch.nn.Linear(26, 12), torch.nn.SiLU())

    def apart() -> float:
        with torch.no_grad():
            one, other = describe(cepstra[:200]), describe(cepstra[200:])
        return float((one.mean(0) - other.mean(0)).norm() / (one.std(0).norm() + other.std(0).norm()))

    before = apart()
    fitting._regress(describe, cepstra, kernels, torch.Generator().manual_seed(0))
    assert apart() > 2 * before


def test_the_cepstrum_of_a_kernel_is_that_of_the_blur_alone():
    motion = Step(Degradation.MOTION_BLUR, 0.3, 5)
    alone = fitting.kernel_cepstrum(Recipe((motion,)), REACH)
    with_noise = fitting.kernel_cepstrum(Recipe((motion, Step(Degradation.NOISE, 0.5, 6))), REACH)
    torch.testing.assert_close(alone, with_noise)
    nothing = fitting.kernel_cepstrum(Recipe((Step(Degradation.NOISE, 0.5, 6),)), REACH)
    assert alone.abs().max() > 0.1 > nothing[..., 1:].abs().min()
    torch.testing.assert_close(nothing.view(-1)[1:], torch.zeros(nothing.numel() - 1), rtol=0, atol=1.1e-3)


def test_the_restorer_is_told_of_the_blur_and_the_core_of_nothing_new_at_first():
    torch.manual_seed(0)
    params = AssessorParams(stem=(8, 8, 16), width=20, heads=2, layers=1, grid=2, condition_width=8, free_tokens=2)
    plain = Assessor(params).eval()
    told = Assessor(AssessorParams(**{**vars(params), "blur_reach": REACH, "blur_width": 8, "blur_tokens": 3})).eval()
    told.load_state_dict(plain.state_dict(), strict=False)
    latent = torch.randn(2, 48, 20, 20)
    with torch.inference_mode():
        before, after = plain(latent), told(latent)
    torch.testing.assert_close(after.score, before.score)
    torch.testing.assert_close(after.condition[:, :-3], before.condition)
    assert after.condition.shape[1] == before.condition.shape[1] + 3 == told.params.condition_tokens
    assert (after.condition[0, -3:] - after.condition[1, -3:]).abs().max() > 0


@pytest.mark.parametrize(("change", "fault"), [({"blur_reach": 32}, "blur_reach"), ({"cell_px": 5}, "cell_px")])
def test_what_blocks_do_not_hold_is_refused(change, fault):
    with pytest.raises(ValueError, match=fault):
        Assessor(AssessorParams(**{"blur_reach": REACH, **change}))


def test_cells_of_another_size_than_the_codecs_are_refused():
    with pytest.raises(ValueError, match="cell_px"):
        RarParams(assessor=AssessorParams(blur_reach=REACH, cell_px=8), restorer=RestorerParams(condition_tokens=18))


def test_a_restorer_that_asks_for_more_of_the_blur_than_it_is_told_is_refused():
    with pytest.raises(ValueError, match="asks for 1 tokens of blur"):
        RarParams(restorer=RestorerParams(blur_tokens=1))


def small_restorer() -> Restorer:
    torch.manual_seed(0)
    params = RestorerParams(
        channels=6,
        widths=(8, 16),
        blocks=(1, 2),
        condition_tokens=3,
        condition_width=8,
        modulation_width=16,
        blur_tokens=1,
    )
    restorer = Restorer(params).eval()
    for value in restorer.parameters():
        torch.nn.init.normal_(value, std=0.1)
    return restorer


def test_what_is_known_of_the_blur_chooses_among_filters():
    restorer = small_restorer()
    latent, condition = torch.randn(1, 6, 8, 8), torch.randn(1, 3, 8)
    for module in restorer.modules():
        if getattr(module, "choice", None) is not None:
            torch.nn.init.zeros_(module.choice.weight)
    restorer.condition.weight.data[:, -8:] = 0.0  # the modulation does not see the blur
    other = condition.clone()
    other[:, -1] += 1.0
    with torch.inference_mode():
        torch.testing.assert_close(restorer(latent, torch.zeros(1), condition), restorer(latent, torch.zeros(1), other))
        restorer.middle[0].choice.weight.normal_()
        told, told_other = (restorer(latent, torch.zeros(1), each) for each in (condition, other))
    assert (told - told_other).abs().max() > 1e-3


def test_one_picture_and_a_batch_choose_alike():
    """For one picture the choice goes into the weights of the convolution, for several into its features."""
    restorer = small_restorer()
    latent, condition = torch.randn(3, 6, 8, 8), torch.randn(3, 3, 8)
    with torch.inference_mode():
        batch = restorer(latent, torch.zeros(3), condition)
        alone = torch.cat([restorer(latent[i : i + 1], torch.zeros(1), condition[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(alone, batch, rtol=1e-4, atol=1e-5)
