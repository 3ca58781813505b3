"""Fetching weights from a server that is slow, breaks off, lies and fails; from folders; and from the hub's own API."""

import hashlib
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rar_cli.cli import app
from rar_cli.errors import WeightsError
from rar_cli.weights import download as downloading
from rar_cli.weights import transfer as module
from rar_cli.weights.download import download, inventory, verify_here
from rar_cli.weights.find import cached, find
from rar_cli.weights.manifest import MANIFEST, write_manifest
from rar_cli.weights.registry import ENTRIES, GROUPS, Entry
from tests.servers import Server


@pytest.fixture
def server():
    made = Server()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def a_cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("RAR_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "WAIT_S", 0.01)


CODEC = "/codec/model.safetensors"


def finals(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("faults", [[], ["slow"], ["break", None], ["break", "break", "break"], [503, 500, None]])
def test_slow_broken_and_busy_servers_end_in_the_same_whole_folder(server, weights_dir, tmp_path, faults):
    server.put(weights_dir)
    server.faults[CODEC] = list(faults)
    (weights,) = download("mine", server.url)
    assert finals(weights.folder) == finals(weights_dir)
    assert find("mine").sha256 == weights.sha256 == find(str(weights_dir)).sha256
    breaks = faults.count("break")
    assert len([r for r in server.ranges if r[0] == CODEC]) == breaks  # went on, did not begin anew
    assert server.requests[CODEC] == max(len(faults) + (faults[-1:] == ["break"]), 1)


def test_a_download_that_was_killed_goes_on_where_it_stopped(server, weights_dir, tmp_path):
    server.put(weights_dir)
    part = tmp_path / "cache" / "mine" / "codec" / "model.safetensors.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(server.files[CODEC][:1000])
    download("mine", server.url)
    assert (CODEC, 1000) in server.ranges


def test_a_server_without_ranges_is_read_from_the_start(server, weights_dir, tmp_path):
    server.put(weights_dir)
    server.faults[CODEC] = ["no ranges"]
    part = tmp_path / "cache" / "mine" / "codec" / "model.safetensors.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    download("mine", server.url)
    assert find("mine")


def failed(*arguments):
    result = CliRunner().invoke(app, ["download-weights", *arguments])
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("rar: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_wrong_bytes_are_refused_and_removed(server, weights_dir, tmp_path):
    server.put(weights_dir)
    good = server.files[CODEC]
    server.files[CODEC] = good[:-1] + bytes([good[-1] ^ 1])
    message = failed("mine", "--from", server.url)
    assert "wrong and were removed" in message
    folder = tmp_path / "cache" / "mine"
    assert not (folder / MANIFEST).exists()
    assert not list(folder.rglob("model.safetensors*"))[1:]
    assert cached("mine") is None
    server.files[CODEC] = good
    download("mine", server.url)
    assert find("mine")


@pytest.mark.parametrize("code", [404, 503])
def test_what_a_server_lacks_is_said_with_the_cure(server, weights_dir, tmp_path, code):
    server.put(weights_dir)
    server.faults[CODEC] = [code] * 10
    message = failed("mine", "--from", server.url)
    assert f"HTTP {code}" in message
    assert "again" in message
    assert server.requests[CODEC] == (1 if code == 404 else module.TRIES)
    assert not (tmp_path / "cache" / "mine" / MANIFEST).exists()


def test_no_manifest_and_no_server_are_said(server):
    assert "HTTP 404" in failed("mine", "--from", server.url)
    assert "cannot be read" in failed("mine", "--from", "http://127.0.0.1:9")
    assert "ftp" in failed("mine", "--from", "ftp://example.org/x")
    assert "unknown" in failed("nonsense")
    assert "no such folder" in failed("mine", "--from", "/nowhere/at/all")


def test_a_manifest_cannot_write_outside_its_folder(server, tmp_path):
    row = {"bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest()}
    server.files["/manifest.json"] = json.dumps({"name": "mine", "files": {"../../evil": row}}).encode()
    assert "points outside" in failed("mine", "--from", server.url)
    assert not (tmp_path / "evil").exists()


@pytest.mark.slow
def test_two_processes_at_once_fetch_it_once(server, weights_dir, tmp_path):
    server.put(weights_dir)
    server.faults[CODEC] = ["slow"]
    command = [sys.executable, "-m", "rar_cli", "download-weights", "mine", "--from", server.url]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    assert [p.wait(60) for p in both] == [0, 0], [p.stderr.read() for p in both]
    for process in both:
        process.stdout.close()
        process.stderr.close()
    assert server.requests[CODEC] == 1


def test_of_two_downloads_at_once_one_waits(server, weights_dir, monkeypatch):
    server.put(weights_dir)
    inside, most, fetch_all = [], [], downloading._fetch_all

    def slowly(*given):
        inside.append(given)
        most.append(len(inside))
        time.sleep(0.3)
        inside.pop()
        return fetch_all(*given)

    monkeypatch.setattr(downloading, "_fetch_all", slowly)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: download("mine", server.url), range(2)))
    assert most == [1]  # the second waited, and found them whole
    assert found[0] == found[1]


def test_a_folder_serves_as_a_mirror_and_verify_finds_what_rots(weights_dir, tmp_path):
    mirror = tmp_path / "mirror"
    (weights,) = download("mine", str(weights_dir), to=mirror)
    assert weights.folder == mirror / "mine"
    assert verify_here("mine", mirror)[0].sha256 == weights.sha256
    again = CliRunner().invoke(app, ["download-weights", "mine", "--verify", "--to", str(mirror), "--json"])
    assert json.loads(again.stdout)["sha256"] == weights.sha256
    path = mirror / "mine" / "codec" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert "size differs" in failed("mine", "--verify", "--to", str(mirror))
    assert "not here" in failed("mine", "--verify")
    download("mine", str(weights_dir), to=mirror)  # heals what has rotted
    assert verify_here("mine", mirror)


def test_the_shipped_weights_are_listed_verified_and_copied(tmp_path):
    rows = [
        json.loads(line)
        for line in CliRunner().invoke(app, ["download-weights", "--list", "--json"]).stdout.splitlines()
    ]
    assert [r["name"] for r in rows] == [e.name for e in ENTRIES]
    assert rows[0]["here"]
    assert not any(r["here"] for r in rows[1:])
    assert "rar-s" in CliRunner().invoke(app, ["download-weights", "--list"]).stdout
    assert verify_here("rar-s")
    (copy,) = download("rar-s", to=tmp_path / "copy")
    assert copy.sha256 == find("rar-s").sha256
    assert inventory(tmp_path / "copy")[0].folder == tmp_path / "copy" / "rar-s"


def test_other_weights_under_the_name_of_the_shipped_ones_are_refused(server, weights_dir, tmp_path):
    server.put(weights_dir)
    assert "not the rar-s that belongs to rar" in failed("rar-s", "--from", server.url, "--to", str(tmp_path / "to"))


def test_a_group_comes_from_a_mirror_member_by_member(server, weights_dir, monkeypatch):
    monkeypatch.setattr("rar_cli.weights.registry.ENTRIES", tuple(
        Entry(name, "", "", "", 1, repository="x/y") for name in GROUPS["rar-l"]
    ))  # fmt: skip
    for name in GROUPS["rar-l"]:
        server.put(weights_dir, f"/{name}")
    assert [w.folder.name for w in download("rar-l", server.url)] == list(GROUPS["rar-l"])


def test_registry_sums_bind_mirrors_too(server, weights_dir, monkeypatch):
    entry = Entry("bound", "", "", "", 1, repository="x/y", sha256={"codec/model.safetensors": "0" * 64})
    monkeypatch.setattr("rar_cli.weights.registry.ENTRIES", (entry,))
    server.put(weights_dir)
    assert "not the file that the registry names" in failed("bound", "--from", server.url)


# --- the hub ------------------------------------------------------------------------------------

COMMIT = "1234567890123456789012345678901234567890"
HUB = """
import sys
from rar_cli.weights.download import download
print(download(sys.argv[1])[0].folder)
"""


def publish(server, repository, folder, **more):
    siblings = []
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            name, data = path.relative_to(folder).as_posix(), path.read_bytes()
            row = {"rfilename": name, "size": len(data), "blobId": "0" * 40}
            if name.endswith(".safetensors"):
                row["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
            siblings.append(row)
            server.files[f"/{repository}/resolve/{COMMIT}/{name}"] = data
    about = {"id": repository, "sha": COMMIT, "siblings": siblings, "private": False, "tags": [], "downloads": 0}
    server.files[f"/api/models/{repository}/revision/main"] = json.dumps({**about, **more}).encode()


def hub(server, name, tmp_path, **environment):
    import os

    env = {
        **os.environ,
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_TOKEN": "secret",
        **environment,
    }
    return subprocess.run([sys.executable, "-c", HUB, name], env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.slow
def test_a_users_model_comes_from_the_hub_at_one_commit(server, weights_dir, tmp_path):
    (weights_dir / "pytorch_model.bin").write_bytes(b"pickle")
    publish(server, "someone/portraits", weights_dir)
    result = hub(server, "someone/portraits", tmp_path)
    assert result.returncode == 0, result.stderr
    folder = Path(result.stdout.strip())
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["origin"] == f"someone/portraits@{COMMIT}"
    assert not (folder / "pytorch_model.bin").exists()
    assert find("someone/portraits").folder == folder
    assert any(h.get("Authorization") == "Bearer secret" for h in server.headers)
    source = tmp_path / "p.png"
    from PIL import Image

    Image.new("RGB", (32, 32), "grey").save(source)
    command = ["restore", str(source), str(tmp_path / "o.png"), "--weights", "someone/portraits", "--quiet"]
    assert CliRunner().invoke(app, command).exit_code == 0


@pytest.mark.slow
def test_the_hubs_silence_and_the_offline_switch_are_said(server, tmp_path):
    missing = hub(server, "someone/nothing", tmp_path)
    assert "WeightsError" in missing.stderr
    assert "someone/nothing" in missing.stderr
    offline = hub(server, "someone/nothing", tmp_path, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE is set" in offline.stderr


# --- what is refused before use -----------------------------------------------------------------


def test_a_folder_with_a_pickle_is_refused(weights_dir):
    (weights_dir / "extra.pt").write_bytes(b"x")
    with pytest.raises(WeightsError, match="may run code"):
        find(str(weights_dir))


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda f: (f / "restorer" / "model.safetensors").unlink(), "missing"),
        (lambda f: (f / "rar.json").write_text('{"format": 99, "policy": {}}'), "sha256 differs|size differs"),
        (lambda f: (f / MANIFEST).write_text("{}"), "no readable manifest"),
        (lambda f: (f / MANIFEST).unlink(), "no readable manifest"),
    ],
)
def test_damaged_folders_are_refused_with_one_line(weights_dir, break_it, reason):
    break_it(weights_dir)
    with pytest.raises(WeightsError, match=reason) as caught:
        find(str(weights_dir))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "change", "reason"),
    [
        ("rar.json", {"format": 99}, "update rar-cli"),
        ("restorer/config.json", {"modulation_width": 24}, "not usable weights"),
        ("restorer/config.json", {"colour": "blue"}, "unknown colour"),
    ],
)
def test_versions_and_configs_that_do_not_fit_are_refused(weights_dir, file, change, reason):
    from rar_cli.networks.model import Rar

    path = weights_dir / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    write_manifest(weights_dir, "tiny", "free", "test")
    with pytest.raises(WeightsError, match=reason):
        Rar.load(find(str(weights_dir)).folder)


@pytest.mark.parametrize("name", ["manifest.json", "rar.json", "assessor/config.json", "rar.json.part"])
@pytest.mark.parametrize("text", ['{"name": "mine"}', ""])
def test_files_of_the_user_in_the_way_of_a_download_stay(tmp_path, name, text):
    mine = tmp_path / "to" / "rar-s" / name
    mine.parent.mkdir(parents=True)
    mine.write_text(text)
    with pytest.raises(WeightsError, match=f"{name}: is not of rar-s, and stays; choose another --to"):
        download("rar-s", to=tmp_path / "to")
    assert mine.read_text() == text
    assert [path for path in mine.parent.rglob("*") if path.is_file()] == [mine]


def test_weights_of_the_user_with_the_same_name_stay(tmp_path, weights_dir):
    import shutil

    mine = tmp_path / "to" / "rar-s"
    shutil.copytree(weights_dir, mine)
    before = {path: path.read_bytes() for path in mine.rglob("*") if path.is_file()}
    with pytest.raises(WeightsError, match="is not of rar-s"):
        download("rar-s", to=tmp_path / "to")
    assert {path: path.read_bytes() for path in mine.rglob("*") if path.is_file()} == before


def test_a_download_that_was_begun_or_damaged_is_finished(tmp_path):
    (whole,) = download("rar-s", to=tmp_path)
    (whole.folder / "rar.json").write_bytes(b"damaged")
    assert download("rar-s", to=tmp_path) == [whole]
    (whole.folder / "manifest.json").rename(whole.folder / "manifest.json.part")  # as a kill leaves it
    (whole.folder / "rar.json").write_bytes(b"half")
    assert download("rar-s", to=tmp_path) == [whole]
    (whole.folder / "manifest.json").unlink()  # as a kill of an earlier rar left it
    assert download("rar-s", to=tmp_path) == [whole]
