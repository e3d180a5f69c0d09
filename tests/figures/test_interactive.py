"""The interactive map: hostile names stay text, nothing is fetched from elsewhere, pages stay small."""

from __future__ import annotations

import base64
import gzip
import json
import re

import numpy as np
import pytest

from page_reader import PageReader
from selfsup.figures.interactive import Map, bokeh_script, map_fragment, tsne_page
from selfsup.figures.thumbnails import sheet_for

HOSTILE = ("<b>bold</b>", "</script><script>alert(1)</script>", "@{file} {} $x", "\"'><img src=x onerror=x>")


def make_map(n: int = 40, names: tuple[str, ...] = HOSTILE, **more) -> Map:
    rng = np.random.default_rng(0)
    values = {
        "points": rng.normal(size=(n, 2)).astype(np.float32),
        "groups": np.arange(n) % len(names),
        "names": names,
        "files": tuple(f"{names[i % len(names)]}/{i}.png" for i in range(n)),
        "predicted": np.arange(n) // 2 % len(names),
        "confidence": rng.random(n).astype(np.float32),
        "slots": np.arange(n),
        "sheet": sheet_for(n),
    }
    return Map(**(values | more))


def columns_of(page: str) -> dict:
    """Data of the map, from the JSON in the page."""
    reader = PageReader(page)
    item = json.loads(next(script for script in reader.scripts if script.startswith('{"target_id"')))
    found: list[dict] = []

    def walk(node) -> None:
        if isinstance(node, dict):
            if node.get("name") == "ColumnDataSource" and "attributes" in node:
                found.append(dict(node["attributes"]["data"]["entries"]))
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(item)
    return found[0]


def integers(column: dict) -> list[int]:
    """A column of int32, which Bokeh writes as base64 and may compress."""
    content = base64.b64decode(column["array"]["data"])
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    return np.frombuffer(content, "<i4").tolist()


def test_hostile_names_stay_text():
    reader = PageReader(tsne_page(make_map(), title="<i>title</i>"))
    for name in HOSTILE:
        assert name in reader.visible
    assert reader.count("b") == reader.count("i") == reader.count("img") == 0
    assert not reader.handlers
    assert not any("alert" in script for script in reader.scripts if not script.startswith("{"))


def test_names_reach_the_map_unchanged():
    data = make_map()
    columns = columns_of(tsne_page(data, title="t"))
    assert tuple(columns["file"]) == data.files
    assert columns["group_name"] == [HOSTILE[g] for g in data.groups]
    assert columns["predicted"] == [HOSTILE[p] for p in data.predicted]


def test_the_page_loads_only_from_the_study():
    page = tsne_page(make_map(), title="t", assets="../../assets")
    assert PageReader(page).addresses() == ["data:,", "../../assets/bokeh.min.js"]
    assert "http" not in page.replace("http-equiv", "")


def test_a_page_of_a_thousand_images_is_small():
    names = tuple(f"a class with a longish name, number {i}" for i in range(100))
    assert len(tsne_page(make_map(1000, names), title="t").encode()) < 500_000


def test_thumbnails_lie_where_the_sheet_has_them():
    data = make_map(5, slots=np.array([0, 1, 2, 3, -1]), sheet=sheet_for(4))
    columns = columns_of(tsne_page(data, title="t"))
    # Two columns of 96 pixels; the image without a slot looks beside the sheet.
    assert integers(columns["left"]) == [0, -96, 0, -96, 192]
    assert integers(columns["top"]) == [0, 0, -96, -96, 0]


def test_file_names_that_are_not_unicode_do_not_break_the_page():
    page = tsne_page(make_map(4, ("a",), files=("\udce9.png",) * 4), title="\udce9")
    page.encode("utf-8")


def test_a_class_can_be_hidden_from_the_keyboard():
    reader = PageReader(tsne_page(make_map(), title="t"))
    keys = [a for tag, a in reader.elements if tag == "button" and a.get("class") == "map-key"]
    assert [key["data-group"] for key in keys] == ["0", "1", "2", "3"]
    assert all(key["aria-pressed"] == "true" for key in keys)


def test_unlabelled_images_are_coloured_by_cluster():
    data = make_map(names=("cluster 1", "cluster 2"), predicted=None, confidence=None)
    page = tsne_page(data, title="t")
    assert "wrong" not in PageReader(page).visible
    assert "predicted" not in columns_of(page)


def test_a_map_without_thumbnails_asks_for_none():
    page = tsne_page(make_map(slots=None, sheet=None), title="t")
    assert "thumbnails.webp" not in page


def test_the_fragment_carries_its_thumbnails():
    assert "AAAA" in map_fragment(make_map(), thumbnails=b"\0\0\0")


def test_bokeh_can_stand_inside_a_page():
    script = bokeh_script()
    assert len(script) > 500_000
    assert b"</script" not in script.lower()
    assert b"<!--" not in script


@pytest.mark.parametrize("n", [0, 1])
def test_tiny_maps_are_no_error(n):
    assert columns_of(tsne_page(make_map(n, ("a",)), title="t"))["file"] == [f"a/{i}.png" for i in range(n)]


def test_of_very_many_classes_those_with_the_most_mistakes_have_a_key_and_the_others_one_together() -> None:
    groups = np.concatenate([np.arange(300), np.arange(280, 300)])  # two points of each of the last twenty
    predicted = np.where((groups >= 270) & (groups < 280), 0, groups)
    page = tsne_page(
        make_map(320, tuple(f"class {i}" for i in range(300)), groups=groups, predicted=predicted), title=""
    )
    keys = re.findall(r'data-group="(-?\d+)".*?</span> (.*?) <small>(\d+)', page)
    mistaken, large = range(270, 280), range(280, 290)
    assert keys == [*((str(i), f"class {i}", "1") for i in mistaken), *((str(i), f"class {i}", "2") for i in large),
                    ("-2", "280 others", "290")]  # fmt: skip
    column = columns_of(page)
    assert integers(column["group"]) == [i if i in {*mistaken, *large} else -2 for i in groups]
    assert column["group_name"] == [f"class {i}" for i in groups]
    assert {c for c, i in zip(column["colour"], groups, strict=True) if i < 270} == {"#8a929b"}
