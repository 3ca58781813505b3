import os

import pytest
from PIL import Image

from rar_cli.errors import UsageError
from rar_cli.jobs.naming.plan import Naming, Shard, plan
from rar_cli.jobs.naming.walk import Selection
from rar_cli.jobs.stream import reading
from rar_cli.jobs.stream.reading import groups_of


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)
    return path


@pytest.fixture
def tree(tmp_path):
    for name in ("b.jpg", "a.png", "sub/c.webp", "sub/deep/d.tif", "notes.png.txt"):
        if name.endswith("txt"):
            (tmp_path / "in" / name).write_text("x")
        else:
            touch(tmp_path / "in" / name)
    return tmp_path / "in"


def targets(jobs, out):
    return [os.path.relpath(job.target, out) for job in jobs]


def test_a_folder_is_read_one_level_deep_unless_recursive_and_the_tree_is_kept(tree, tmp_path):
    out = tmp_path / "out"
    flat = plan([str(tree)], str(out), Naming(), Selection())
    assert targets(flat, out) == ["a.png", "b.jpg"]
    deep = plan([str(tree)], str(out), Naming(), Selection(recursive=True))
    assert targets(deep, out) == ["a.png", "b.jpg", "sub/c.webp", "sub/deep/d.tif"]


def test_system_files_and_excluded_patterns_are_left_out(tree, tmp_path):
    for name in ("._a.png", ".DS_Store", "Thumbs.db", "skip_me.png"):
        (tree / name).write_bytes(b"x")
    jobs = plan([str(tree)], str(tmp_path / "o"), Naming(), Selection(True, ("skip*", "sub/deep/*")))
    assert targets(jobs, tmp_path / "o") == ["a.png", "b.jpg", "sub/c.webp"]


def test_several_inputs_and_globs_are_taken_in_order(tree, tmp_path):
    jobs = plan([str(tree / "*.jpg"), str(tree / "a.png")], str(tmp_path / "o"), Naming(), Selection())
    assert targets(jobs, tmp_path / "o") == ["b.jpg", "a.png"]


def test_outputs_inside_an_input_are_not_read_again(tree):
    out = tree / "out"
    touch(out / "a.png")
    jobs = plan([str(tree)], str(out), Naming(), Selection(recursive=True))
    assert "out/a.png" not in targets(jobs, out)


def test_links_are_followed_once_and_never_in_circles(tree, tmp_path):
    (tree / "sub" / "loop").symlink_to(tree)
    touch(tmp_path / "elsewhere" / "e.png")
    (tree / "linked").symlink_to(tmp_path / "elsewhere")
    jobs = plan([str(tree)], str(tmp_path / "o"), Naming(), Selection(recursive=True))
    assert targets(jobs, tmp_path / "o") == ["a.png", "b.jpg", "linked/e.png", "sub/c.webp", "sub/deep/d.tif"]


def test_clashes_are_reported_before_any_work(tree, tmp_path):
    touch(tree / "a.jpg")
    with pytest.raises(UsageError, match=r"a\.jpg and .*a\.png would both become"):
        plan([str(tree)], str(tmp_path / "o"), Naming("png"), Selection())
    with pytest.raises(UsageError, match="overwrite an input"):
        plan([str(tree)], str(tree), Naming(), Selection())
    assert targets(plan([str(tree)], str(tree), Naming(suffix="_r"), Selection()), tree)[0] == "a_r.jpg"


def test_one_file_may_go_to_a_file_a_folder_or_a_stream(tree, tmp_path):
    (job,) = plan([str(tree / "a.png")], str(tmp_path / "x.jpg"), Naming(), Selection())
    assert (job.target, job.format) == (tmp_path / "x.jpg", "JPEG")
    (job,) = plan([str(tree / "a.png")], str(tmp_path / "folder"), Naming("webp"), Selection())
    assert job.target == tmp_path / "folder" / "a.webp"
    (job,) = plan(["-"], "-", Naming(), Selection())
    assert (job.source, job.target) == (None, None)
    with pytest.raises(UsageError, match="is the input itself"):
        plan([str(tree / "a.png")], str(tree / "a.png"), Naming(), Selection())


@pytest.mark.parametrize(
    ("inputs", "output", "message"),
    [
        (["missing.png"], "o", "no such file"),
        (["*.nothing"], "o", "no pictures found"),
        (["-", "a.png"], "o", "one picture"),
    ],
)
def test_requests_that_cannot_run_say_why(tree, monkeypatch, inputs, output, message):
    monkeypatch.chdir(tree)
    with pytest.raises(UsageError, match=message):
        plan(inputs, output, Naming(), Selection())


def shards_of(jobs, count):
    return [[[j.name for j in group] for group in groups_of(jobs, 16, Shard(i, count))] for i in range(1, count + 1)]


def test_shards_are_a_partition_into_the_groups_of_the_whole(tree, tmp_path):
    for i in range(200):
        touch(tree / f"n{i}.png")
    jobs = plan([str(tree)], str(tmp_path / "o"), Naming(), Selection())
    whole = [[j.name for j in group] for group in groups_of(jobs, 16)]
    parts = shards_of(jobs, 3)
    assert sorted(group for part in parts for group in part) == sorted(whole)
    assert all(parts)


def test_what_goes_alone_stays_in_its_shard_whatever_comes_and_goes(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "GROUP_PIXELS", 1)
    for i in range(40):
        touch(tree / f"n{i}.png")
    before = shards_of(plan([str(tree)], str(tmp_path / "o"), Naming(), Selection()), 3)
    (tree / "n0.png").unlink()
    after = shards_of(plan([str(tree)], str(tmp_path / "o"), Naming(), Selection()), 3)
    gone = [str(tree / "n0.png")]
    assert after == [[group for group in part if group != gone] for part in before]


@pytest.mark.parametrize("text", ["0/3", "4/3", "x", "1/2/3", "1/0"])
def test_impossible_shards_are_refused(text):
    with pytest.raises(UsageError, match="--shard"):
        Shard.parse(text)


def test_unknown_formats_are_refused_with_the_valid_ones():
    with pytest.raises(UsageError, match="same, png, jpg, webp, tiff"):
        Naming("gif")


def test_several_pictures_do_not_go_into_a_folder_that_is_called_as_a_picture(tmp_path, folder):
    with pytest.raises(UsageError, match="several pictures need a folder"):
        plan([str(folder)], str(tmp_path / "out.jpg"), Naming(), Selection())
    assert plan([str(folder)], f"{tmp_path / 'out.jpg'}/", Naming(), Selection())
    (tmp_path / "out.jpg").mkdir()
    assert plan([str(folder)], str(tmp_path / "out.jpg"), Naming(), Selection())
