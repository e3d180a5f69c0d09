"""Files of a study that are damaged, and what is said of them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from selfsup.errors import UserError
from selfsup.record.reading import read_arrays, read_json

DAMAGE = (b"", b'{"runs": [{"ti', b"\xff\xfe\x00", b"PK\x03\x04 torn", b"[]")


@pytest.mark.parametrize("content", DAMAGE)
@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("metrics.json", "remove the cell's folder and run the same command again"),
        ("run.json", "remove it, with which only the history of commands is lost"),
        ("dataset.json", "bring it back from a copy, or begin anew with another --out"),
    ],
)
def test_damaged_json_is_a_sentence_and_a_missing_file_is_empty(
    tmp_path: Path, name: str, remedy: str, content: bytes
) -> None:
    assert read_json(tmp_path / name) == {}
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        read_json(tmp_path / name)
    assert str(error.value) == f"'{tmp_path / name}' is missing or damaged; {remedy}."


def arrays() -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, train=np.arange(1000), val=np.arange(3))
    return content.getvalue()


def flipped(content: bytes) -> bytes:
    """The same, but for bytes amid the first array."""
    return content[:100] + bytes(byte ^ 0xFF for byte in content[100:120]) + content[120:]


@pytest.mark.parametrize("content", [*DAMAGE, arrays()[:200], flipped(arrays()), None])
def test_missing_or_damaged_arrays_are_a_sentence(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "split-s1.npz"
    file.write_bytes(arrays())
    assert read_arrays(file)["train"].tolist() == list(range(1000))
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(
        UserError, match=r"split-s1\.npz' is missing or damaged; remove it and run the same command aga"
    ):
        read_arrays(file)


def test_an_array_that_is_not_there_or_is_pickled_is_damage(tmp_path: Path) -> None:
    np.savez(tmp_path / "probe.npz", mean=np.ones(3), scale=np.array([{}], dtype=object))
    assert read_arrays(tmp_path / "probe.npz", ["mean"])["mean"].tolist() == [1, 1, 1]
    for name in ("weight", "scale"):
        with pytest.raises(UserError, match=r"probe\.npz' is missing or damaged; remove the cell's folder"):
            read_arrays(tmp_path / "probe.npz", [name])
