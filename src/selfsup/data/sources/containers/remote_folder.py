"""A folder at an address that fsspec opens (``s3://bucket/photos``): listed, and its images read into the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfsup.data.addresses import explained, is_address, open_place, shown
from selfsup.data.sources.base import Source, SourceOptions
from selfsup.data.sources.containers._listed_files import ListedFile, ListedSource
from selfsup.errors import UserError

#: What file systems call that which changes with a file's content: of the first that there is.
STAMPS = ("ETag", "etag", "md5Hash", "content_md5", "LastModified", "last_modified", "mtime", "updated", "created")


class RemoteFolder:
    """An address of a folder."""

    def takes(self, data: str) -> bool:
        return is_address(data)

    def open_source(self, data: str, options: SourceOptions) -> Source:
        fs, root = open_place(data, given="")
        with explained(data, "listed"):
            found: Mapping[str, Mapping[str, Any]] = fs.find(root, detail=True)
        if not found or list(found) == [root]:
            raise UserError(f"There is no folder of files at '{shown(data)}'; check the address.")
        files = {path.removeprefix(root).lstrip("/"): (path, facts) for path, facts in found.items()}
        listed = [ListedFile(name, _stamp(facts)) for name, (_, facts) in files.items()]

        def read(name: str) -> bytes:
            with explained(f"{data.rstrip('/')}/{name}", "read"):
                content: bytes = fs.cat_file(files[name][0])
            return content

        return ListedSource(shown(data), listed, read, options)


def _stamp(facts: Mapping[str, Any]) -> str:
    return f"{facts.get('size')} {next((facts[name] for name in STAMPS if facts.get(name)), '')}"


container = RemoteFolder()
