"""A web server on 127.0.0.1 that serves one file, with the faults that real ones have."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """What is served, and how.

    Attributes
    ----------
    content : bytes
    etag : str or None
        None: the server gives neither ETag nor Last-Modified.
    ranges : bool
        Whether it knows Range.
    cut_after : list of int
        Each answer takes the first number off and closes the connection after so many bytes.
    status : int
        Answers with this alone if it is not 200.
    chunked : bool
        Sends no Content-Length.
    requests : list of (Range, If-Range)
        What was asked for.
    """

    content: bytes
    etag: str | None = '"v1"'
    ranges: bool = True
    cut_after: list[int] = field(default_factory=list)
    status: int = 200
    chunked: bool = False
    requests: list[tuple[str | None, str | None]] = field(default_factory=list)
    url: str = ""


@contextmanager
def serve(served: Served) -> Iterator[Served]:
    """Serve until the block ends; sets ``served.url``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted, condition = self.headers.get("Range"), self.headers.get("If-Range")
            served.requests.append((wanted, condition))
            if served.status != 200:
                self.send_error(served.status)
                return
            start = self._start(wanted, condition)
            if start is not None and start >= len(served.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(served.content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = served.content[start or 0 :]
            self.send_response(200 if start is None else 206)
            if start is not None:
                total = len(served.content)
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            if served.etag is not None:
                self.send_header("ETag", served.etag)
            if not served.chunked:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: served.cut_after.pop(0)] if served.cut_after else body)

        def _start(self, wanted: str | None, condition: str | None) -> int | None:
            if wanted is None or not served.ranges or (condition is not None and condition != served.etag):
                return None
            match = re.fullmatch(r"bytes=(\d+)-", wanted)
            assert match is not None
            return int(match[1])

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_address[1]}/Segmented.zip"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
