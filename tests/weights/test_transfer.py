"""One file from servers that lie, drip, never end, redirect elsewhere and do not speak HTTP."""

import threading
import time

import pytest

from rar_cli.errors import WeightsError
from rar_cli.weights import transfer
from rar_cli.weights.connection import CHUNK
from rar_cli.weights.transfer import Remote, fetch, read_small
from tests.servers import Server, raw_server

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    monkeypatch.setattr(transfer, "WAIT_S", 0.01)
    monkeypatch.setattr(transfer, "TRIES", 2)


@pytest.fixture
def servers():
    made = [Server(), Server()]
    yield made
    for server in made:
        server.stop()


def refused(remote, tmp_path):
    """The message of a fetch that must fail and leave no final file."""
    with pytest.raises(WeightsError) as caught:
        fetch(remote, tmp_path / "x.safetensors", None)
    assert not (tmp_path / "x.safetensors").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


ANSWERS = {
    "not http": ((b"SSH-2.0-OpenSSH_9.6\r\n",), "cannot be fetched"),
    "nothing": ((b"",), "cannot be fetched"),
    "an endless line": ((OK, b"X: " + 70_000 * b"a"), "cannot be fetched"),
    "a thousand headers": ((OK, 1000 * b"X: y\r\n", b"\r\n"), "cannot be fetched"),
    "a chunk cut short": ((OK, b"Transfer-Encoding: chunked\r\n\r\n", b"64\r\nabc"), "broke off"),
    "a chunk of no length": ((OK, b"Transfer-Encoding: chunked\r\n\r\n", b"zz\r\nabc\r\n"), "broke off"),
    "a length that is none": ((OK, b"Content-Length: Infinity\r\n\r\nabc"), "does not say how long"),
    "no length": ((OK, b"\r\nabc"), "does not say how long"),
    "a redirect to a file": ((b"HTTP/1.1 302 x\r\nLocation: file:///etc/passwd\r\n\r\n",), "not allowed"),
    "a redirect to ftp": ((b"HTTP/1.1 302 x\r\nLocation: ftp://127.0.0.1/x\r\n\r\n",), "is not followed"),
    "a redirect to nowhere": ((b"HTTP/1.1 302 x\r\nLocation: http://[\r\n\r\n",), "cannot be fetched"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_that_are_none_are_said_in_one_line(name, tmp_path):
    pieces, message = ANSWERS[name]
    with raw_server(*pieces) as url:
        size = 100 if "chunk" in name else None
        assert message in refused(Remote(f"{url}/x", size=size), tmp_path)
        with pytest.raises(WeightsError, match="cannot be read"):
            read_small(f"{url}/x", 2)


@pytest.mark.parametrize("url", ["http://", "http://user:word@127.0.0.1/x", "http://127.0.0.1:port/x", "http://a b/"])
def test_urls_that_are_none_are_said_in_one_line(url, tmp_path):
    assert "cannot be fetched" in refused(Remote(url, size=1), tmp_path)


def test_a_body_that_is_longer_than_promised_is_not_stored(tmp_path):
    chunk = b"10000\r\n" + 65_536 * b"x" + b"\r\n"
    with raw_server(OK, b"Transfer-Encoding: chunked\r\n\r\n", chunk, endless=True) as url:
        assert "longer than the 100000 bytes" in refused(Remote(f"{url}/x", size=100_000), tmp_path)
        assert sum(p.stat().st_size for p in tmp_path.iterdir()) == 0
        with pytest.raises(WeightsError, match="longer than 100000 bytes"):
            read_small(f"{url}/x", 100_000)


@pytest.mark.parametrize(
    ("pieces", "what"),
    [
        ((OK, b"Content-Length: 1000000\r\n\r\n", b"x"), "a body"),
        ((OK, b"X"), "a header"),
        ((b"HTTP/1.1 302 x\r\nLocation: /x\r\nContent-Length: 1000000\r\n\r\n", b"x"), "a redirect"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_server_that_drips_for_ever_ends_with_the_time(pieces, what, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "LEAST_S", 0.6)
    monkeypatch.setattr(transfer, "TIMEOUT_S", 0.6)
    started = time.monotonic()
    with raw_server(*pieces, pause_s=0.05, endless=True) as url:
        message = refused(Remote(f"{url}/x", sha256="0" * 64, size=1000), tmp_path)
        assert what == "a redirect" or "takes too long" in message
        with pytest.raises(WeightsError, match="cannot be read"):
            read_small(f"{url}/x", CHUNK)
    assert time.monotonic() - started < 5


def test_the_endless_body_of_a_redirect_is_not_read(servers, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "LEAST_S", 3.0)
    servers[0].files["/x"] = b"weights"
    head = f"HTTP/1.1 302 x\r\nLocation: {servers[0].url}/x\r\nContent-Length: 1000000000\r\n\r\n".encode()
    with raw_server(head, b"x", pause_s=0.05, endless=True) as url:
        fetch(Remote(f"{url}/x", size=7), tmp_path / "x", None)
    assert (tmp_path / "x").read_bytes() == b"weights"


def test_the_watch_of_a_file_ends_with_it(servers, tmp_path):
    def watches():
        return {thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)}

    before = watches()
    servers[0].files["/x"] = b"weights"
    fetch(Remote(f"{servers[0].url}/x", size=7), tmp_path / "x", None)
    for thread in watches() - before:  # cancelled, it ends as soon as it gets a processor
        thread.join(5.0)
    assert not watches() - before


def tokens(server):
    return [headers.get("Authorization") for headers in server.headers]


def test_a_token_is_never_sent_on_to_another_host(servers, tmp_path):
    """Another name, another port, and back again: only the host that it was meant for sees it."""
    hub, other = servers
    elsewhere = other.url.replace("127.0.0.1", "localhost")
    hub.redirects["/x"] = f"{elsewhere}/x"
    other.redirects["/x"] = f"{hub.url}/back"
    hub.files["/back"] = b"weights"
    fetch(Remote(f"{hub.url}/x", size=7, token="secret"), tmp_path / "x", None)
    assert (tmp_path / "x").read_bytes() == b"weights"
    assert tokens(hub) == ["Bearer secret", None]
    assert tokens(other) == [None]
    hub.headers.clear()
    hub.redirects["/x"] = f"{hub.url.replace('127.0.0.1', 'localhost')}/back"  # the same port of another name
    fetch(Remote(f"{hub.url}/x", size=7, token="secret"), tmp_path / "y", None)
    assert tokens(hub) == ["Bearer secret", None]


def test_a_token_stays_with_its_own_host_where_a_repository_was_renamed(servers, tmp_path):
    hub, _ = servers
    hub.redirects["/old"] = "/new"
    hub.files["/new"] = b"weights"
    fetch(Remote(f"{hub.url}/old", size=7, token="secret"), tmp_path / "x", None)
    assert tokens(hub) == ["Bearer secret", "Bearer secret"]


def test_https_does_not_fall_back_to_http():
    import urllib.request
    from io import BytesIO

    from rar_cli.weights.connection import Fault, _Redirect

    request = urllib.request.Request("https://example.org/x")
    with pytest.raises(Fault, match="from https to http is not followed"):
        _Redirect().redirect_request(request, BytesIO(), 302, "", {}, "http://example.org/x")


def test_a_part_of_another_file_is_thrown_away_and_fetched_anew(servers, tmp_path):
    server, _ = servers
    server.files["/x"] = b"weights"
    (tmp_path / "x.part").write_bytes(b"much more than there is")
    fetch(Remote(f"{server.url}/x"), tmp_path / "x", None)
    assert (tmp_path / "x").read_bytes() == b"weights"


def test_a_full_disk_is_no_fault_of_the_network(servers, tmp_path):
    server, _ = servers
    server.files["/x"] = b"weights"
    (tmp_path / "x.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        fetch(Remote(f"{server.url}/x", size=7), tmp_path / "x", None)
    assert server.requests["/x"] == 1
