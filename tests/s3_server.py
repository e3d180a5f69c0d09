"""A server of S3's kind on this machine."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

boto3 = pytest.importorskip("boto3")
ThreadedMotoServer = pytest.importorskip("moto.server").ThreadedMotoServer


class Server:
    """S3 on 127.0.0.1, which can be gone for a while."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer("127.0.0.1", port=0)
        self._server.start()
        self.host, self.port = self._server.get_host_and_port()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def client(self) -> Any:
        return boto3.client("s3", endpoint_url=self.url, region_name="us-east-1")

    def names(self) -> set[str]:
        """Every object of the bucket."""
        return {found["Key"] for found in self.client.list_objects_v2(Bucket="studies").get("Contents", [])}

    def stop(self) -> None:
        self._server.stop()

    def start_again(self) -> None:
        """At the same address, with what it held."""
        self._server = ThreadedMotoServer("127.0.0.1", port=self.port)
        self._server.start()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    running = Server()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
    running.client.create_bucket(Bucket="studies")
    yield running
    urllib.request.urlopen(urllib.request.Request(f"{running.url}/moto-api/reset", method="POST")).close()
    running.stop()
