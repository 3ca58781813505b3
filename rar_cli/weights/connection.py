"""http and https connections with limits: no other scheme, a time limit, and no token for another host."""

from __future__ import annotations

import http.client
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from typing import IO, Any

from rar_cli.version import __version__

CHUNK = 1 << 20

TIMEOUT_S = 30.0
"""Of silence."""

BUSY = {408, 429, 500, 502, 503, 504}
"""Answers that may be other ones in a while."""

STALE = 416
"""The answer where more is here than the server has."""


class Fault(Exception):  # noqa: N818
    """An attempt that failed, in one line. again: whether a further one may succeed. code: the server's."""

    def __init__(self, reason: object, again: bool = True, code: int | None = None) -> None:
        super().__init__(" ".join(str(reason).split())[:200] or type(reason).__name__)
        self.again, self.code = again, code


@contextmanager
def answered(url: str, token: str | None, first: int, until: float) -> Iterator[Any]:
    """The answer to a request for the bytes of `url` from `first` on. Raises Fault.

    token: for the host of `url` alone. until: the monotonic second at which every wait ends.
    """
    watch = _Watch(until)
    try:
        request = _request(url, token, first)
        answer = _opener(watch).open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        again = error.code in BUSY or error.code == STALE
        watch.cancel()
        raise Fault(f"HTTP {error.code} {error.reason}", again, error.code) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        watch.cancel()
        wrong = isinstance(error, ValueError | http.client.InvalidURL)
        raise Fault(getattr(error, "reason", None) or error, again=not wrong) from error
    except BaseException:
        watch.cancel()
        raise
    try:
        yield answer
    finally:
        watch.cancel()
        answer.close()


def body(answer: Any, until: float) -> Iterator[bytes]:
    """What has come, as it comes. Raises Fault where it ends in the midst of a chunk, or takes too long."""
    while True:
        try:
            chunk = answer.read1(CHUNK)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Fault(f"broke off ({type(error).__name__})") from error
        if chunk:
            yield chunk
        if time.monotonic() >= until:
            raise Fault("the time is up")
        if not chunk:
            return


def length_of(answer: Any) -> int | None:
    """How many bytes an answer promises, where it does."""
    text = answer.headers.get("Content-Length") or ""
    return int(text) if text.isdecimal() and len(text) <= 15 else None


def _request(url: str, token: str | None, first: int) -> urllib.request.Request:
    request = urllib.request.Request(url, headers={"User-Agent": f"rar/{__version__}"})
    if first:
        request.add_header("Range", f"bytes={first}-")
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    return request


def _opener(watch: _Watch) -> urllib.request.OpenerDirector:
    """http and https, through the proxies of the environment; no files, no ftp."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(), _Http(watch), _Https(watch), _Redirect(), urllib.request.UnknownHandler(),
        urllib.request.HTTPErrorProcessor(), urllib.request.HTTPDefaultErrorHandler(),
    ):  # fmt: skip
        opener.add_handler(handler)
    return opener


class _Watch:
    """Shuts every connection that it made once the time is up, whatever it waits for."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.sockets: list[socket.socket] = []
        self.timer = threading.Timer(max(until - time.monotonic(), 0.0), self._end)
        self.timer.daemon = True
        self.timer.start()
        self.cancel = self.timer.cancel

    def watched(self, kind: Any) -> Callable[..., Any]:
        """A maker of connections whose sockets are shut in time."""

        def make(host: str, **options: Any) -> Any:
            connection = kind(host, **options)
            connect = connection.connect

            def connect_in_time() -> None:
                connect()
                self.sockets.append(connection.sock)
                if time.monotonic() >= self.until:
                    raise TimeoutError("the time is up")

            connection.connect = connect_in_time
            return connection

        return make

    def _end(self) -> None:
        for each in self.sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:  # closed already
                continue


class _Http(urllib.request.HTTPHandler):
    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self.watch = watch

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self.watch.watched(http.client.HTTPConnection), req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self.watch = watch

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self.watch.watched(http.client.HTTPSConnection), req)


class _Redirect(urllib.request.HTTPRedirectHandler):
    """Stays with http and https, never falls back from https, and keeps a token on its own host alone."""

    def http_error_302(self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any) -> Any:
        fp.close()  # else its body would be read whole, however long it is
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        old, new = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        if new.scheme not in {"http", "https"} or (old.scheme == "https" and new.scheme != "https"):
            raise Fault(f"a redirect from {old.scheme} to {new.scheme} is not followed", again=False)
        request = super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]
        token = req.unredirected_hdrs.get("Authorization")
        if request is not None and token and (old.scheme, old.netloc) == (new.scheme, new.netloc):
            request.add_unredirected_header("Authorization", token)
        return request
