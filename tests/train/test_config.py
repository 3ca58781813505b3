"""Training configs: what they may say, and what a model of their size needs."""

import pytest

from rar_cli.errors import UsageError
from rar_cli.train.config import Stage, TrainConfig, load_config, shipped_config
from rar_cli.train.sizes import sizes
from tests.conftest import ROOT
from tests.toy import config_file


def test_every_stage_of_the_shipped_config_is_known_and_its_parts_fit():
    config = load_config(ROOT / "rar_cli" / "train" / "rar-s.toml")
    assert {stage.kind for stage in config.stages} >= {"assessor", "restorer"}
    assert config.total_steps == sum(s.steps for s in config.stages)


def test_unknown_keys_in_a_config_are_refused_with_the_known_ones(tmp_path):
    path = config_file(tmp_path)
    path.write_text("stages_typo = 3\n" + path.read_text())
    with pytest.raises(UsageError, match="stages_typo.*TrainConfig knows name"):
        load_config(path)
    path.write_text('[[stages]]\nname="x"\nkind="assessor"\nsteps=1\ncrops=[{pictures=1,window_px=64,context_px=32}]\n')
    with pytest.raises(UsageError, match="window_px 64 exceeds context_px 32"):
        load_config(path)


def test_the_learning_rate_rises_holds_and_falls():
    stage = Stage("x", "restorer", steps=100, learning_rate=1.0, warmup=10, decay=0.2)
    assert stage.rate_at(0) == pytest.approx(0.1)
    assert stage.rate_at(50) == 1.0
    assert stage.rate_at(90) == pytest.approx(0.5)
    assert stage.rate_at(100) == 0.0


def test_a_stage_focuses_on_degradations_that_there_are(tmp_path):
    with pytest.raises(UsageError, match="focus fog; use some of noise"):
        Stage("x", "restorer", 1, focus=("fog",))
    with pytest.raises(UsageError, match="focus fog; use some of noise"):
        Stage("x", "restorer", 1, focus=("haze+fog",))
    with pytest.raises(UsageError, match="focus is empty"):
        Stage("x", "restorer", 1, focused=0.5, focus=())


def test_stage_at_walks_through_the_stages():
    a, b = Stage("a", "assessor", steps=3), Stage("b", "restorer", steps=2)
    config = TrainConfig("x", (a, b))
    assert [config.stage_at(i)[0].name for i in range(6)] == ["a", "a", "a", "b", "b", "b"]
    assert config.stage_at(4)[1] == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rar-s", "rar-l"])
def test_what_a_shipped_config_needs_is_counted_without_making_it(name):
    config = load_config(shipped_config(name))
    assert sum(part.parameters for part in sizes(config, 64).parts) > 1e7
