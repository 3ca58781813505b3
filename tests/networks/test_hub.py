"""Weights in the form of the hub: saved, loaded, pushed."""

import base64
import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import torch

import rar_cli as rar
from rar_cli.errors import WeightsError
from tests.servers import Server
from tests.weights.test_download import publish


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_what_is_saved_is_loaded_verified(busy, tmp_path):
    busy.save_pretrained(tmp_path / "mine")
    assert (tmp_path / "mine" / "manifest.json").exists()
    again = rar.Rar.from_pretrained(tmp_path / "mine")
    assert same(busy, again)
    assert not again.training
    part = tmp_path / "mine" / "codec" / "model.safetensors"
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError, match="sha256 differs"):
        rar.Rar.from_pretrained(tmp_path / "mine")


def test_the_hub_gets_the_whole_folder(busy, monkeypatch):
    pushed = []

    class Api:
        def __init__(self, *given, **options): ...

        def create_repo(self, repo_id, **options):
            return type("Repo", (), {"repo_id": repo_id})

        def upload_folder(self, *, folder_path, **options):
            pushed.extend(str(p.relative_to(folder_path)) for p in folder_path.rglob("*") if p.is_file())

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Api)
    busy.push_to_hub("me/mine")
    wanted = {"manifest.json", "rar.json", "codec/model.safetensors", "assessor/config.json"}
    assert wanted <= {name.replace("\\", "/") for name in pushed}


def test_a_name_of_the_hub_is_fetched_once_and_verified(weights_dir, monkeypatch, tmp_path):
    from rar_cli.weights.find import find

    monkeypatch.setenv("RAR_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", lambda **options: pytest.fail("asked"))
    monkeypatch.setattr("rar_cli.weights.download.download", lambda name: [find(str(weights_dir))])
    assert isinstance(rar.Rar.from_pretrained("me/mine"), rar.Rar)
    with pytest.raises(WeightsError, match="rar download-weights me/mine"):
        rar.Rar.from_pretrained("me/mine", local_files_only=True)
    with pytest.raises(WeightsError, match="revision"):
        rar.Rar.from_pretrained("me/mine", revision="v1")


class Taking(BaseHTTPRequestHandler):
    """The side of the hub that takes what is pushed: a repository is made, then one commit holds every file."""

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = json.loads(body)["files"] if "/preupload/" in self.path else []
        answer = {
            "url": f"{self.server.url}/me/mine", "name": "me/mine", "commitUrl": f"{self.server.url}/me/mine/commit/1",
            "commitOid": "1" * 40,
            "files": [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False} for each in asked],
        }  # fmt: skip
        if "/commit/" in self.path:
            rows = [json.loads(line) for line in body.splitlines()]
            for row in (row["value"] for row in rows if row["key"] == "file"):
                path = self.server.folder / row["path"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(base64.b64decode(row["content"]))
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def with_hub(url, tmp_path, code):
    env = {**os.environ, "HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": "secret"}
    env["RAR_WEIGHTS"] = str(tmp_path / "cache")
    program = f"import sys, rar_cli as rar; {code}"
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_what_one_pushes_another_loads_by_its_name(busy, tmp_path):
    busy.save(tmp_path / "mine")
    from rar_cli.weights.manifest import write_manifest

    write_manifest(tmp_path / "mine", "mine", "free", "a test")
    taking = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    taking.url, taking.folder = f"http://127.0.0.1:{taking.server_port}", tmp_path / "hub"
    Thread(target=taking.serve_forever, args=(0.02,), daemon=True).start()
    with_hub(taking.url, tmp_path, f"rar.Rar.from_pretrained({str(tmp_path / 'mine')!r}).push_to_hub('me/mine')")
    taking.shutdown()
    taking.server_close()
    assert "library_name: rar-cli" in (tmp_path / "hub" / "README.md").read_text()

    giving = Server()
    publish(giving, "me/mine", tmp_path / "hub")
    load = f"rar.Rar.from_pretrained('me/mine').save_pretrained({str(tmp_path / 'again')!r})"
    with_hub(giving.url, tmp_path, load)
    with_hub(giving.url, tmp_path, load)  # from the cache
    giving.stop()
    assert same(busy, rar.Rar.from_pretrained(tmp_path / "again"))
    asked = [path for path in giving.requests if path.endswith("codec/model.safetensors")]
    assert [giving.requests[path] for path in asked] == [1]
