"""A hub of weights on this machine, for tests of what is downloaded."""

from __future__ import annotations

import hashlib
import http.server
import threading


class Hub:
    """Serves one file as the weights hub does, and notes what is asked for."""

    def __init__(self, weights: bytes) -> None:
        self.weights: bytes | None = weights
        self.known = ""  #: what an address must hold to be found
        self.gated = False
        self.requests: list[str] = []
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.answer()

            def do_GET(self) -> None:
                self.wfile.write(self.answer())

            def answer(self) -> bytes:
                hub.requests.append(f"{self.command} {self.path}")
                here = self.path.endswith("/resolve/main/model.safetensors") and hub.known in self.path
                found = hub.weights if here and not hub.gated else None
                self.send_response(403 if hub.gated else 404 if found is None else 200)
                if hub.gated:
                    self.send_header("X-Error-Code", "GatedRepo")
                self.send_header("Content-Length", str(len(found or b"")))
                self.send_header("ETag", f'"{hashlib.sha256(found or b"").hexdigest()}"')
                self.send_header("X-Repo-Commit", "a" * 40)
                self.end_headers()
                return found or b""

            def log_message(self, *args: object) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
