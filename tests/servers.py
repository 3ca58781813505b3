"""Servers on this machine that are slow, break off, lie and fail."""

import socket
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Server:
    """Serves `files` (path -> bytes); `faults` (path -> list of what to do wrong, one per request).

    redirects: path -> URL. headers, requests, ranges: what was asked for.
    """

    def __init__(self):
        self.files, self.faults, self.requests, self.ranges = {}, {}, Counter(), []
        self.headers, self.redirects = [], {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                self.do_GET()

            def do_GET(self):
                path = self.path.split("?")[0]
                outer.requests[path] += 1
                outer.headers.append(dict(self.headers))
                if path in outer.redirects:
                    self.send_response(302)
                    self.send_header("Location", outer.redirects[path])
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                fault = (outer.faults.get(path) or [None]).pop(0) if outer.faults.get(path) else None
                if isinstance(fault, int) or path not in outer.files:
                    self.send_response(fault if isinstance(fault, int) else 404)
                    self.send_header("X-Error-Code", "EntryNotFound")  # as the hub says it
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                data = outer.files[path]
                first = 0
                if "Range" in self.headers and fault != "no ranges":
                    first = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
                    outer.ranges.append((path, first))
                    if first >= len(data):
                        self.send_response(416)
                        self.send_header("Content-Length", "0")
                        self.end_headers()
                        return
                self.send_response(206 if first else 200)
                self.send_header("Content-Length", str(len(data) - first))
                self.end_headers()
                if self.command == "HEAD":
                    return
                end = first + (len(data) - first) // 2 if fault == "break" else len(data)
                for start in range(first, end, 20_000):
                    self.wfile.write(data[start : min(start + 20_000, end)])
                    if fault == "slow":
                        time.sleep(0.02)
                if fault == "break":
                    self.wfile.flush()
                    self.close_connection = True

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self.http.shutdown()
        self.http.server_close()

    def put(self, folder, below=""):
        for path in Path(folder).rglob("*"):
            if path.is_file():
                self.files[f"{below}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()


@contextmanager
def raw_server(*pieces, pause_s=0.0, endless=False):
    """A server that sends the same bytes to whoever connects, piece by piece, the last one for ever; yields its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def answer(connection):
        with connection:
            try:
                connection.recv(65536)
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(pause_s)
                while endless and not over.is_set():
                    connection.sendall(pieces[-1])
                    time.sleep(pause_s)
            except OSError:
                return

    def work():
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=work, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        listener.close()
