"""The pages in a real browser: no error, no request, thumbnails on hover, sorting and searching."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from study_folder import FolderWriter

from selfsup.figures.interactive import Map, tsne_page
from selfsup.figures.thumbnails import sheet_for
from selfsup.report.assets import write_assets
from selfsup.report.page import render, shown_columns, write_report
from selfsup.report.recorded import read_study

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]

HOSTILE = ("<b>x</b>", "</script><script>window.broken=1</script>", "@{file} {} $x")

# Runs before everything else on the page.
WATCH = """<script>
window.problems = [];
addEventListener("error", (event) => problems.push("error: " + event.message));
addEventListener("unhandledrejection", (event) => problems.push("rejection: " + event.reason));
addEventListener("securitypolicyviolation", (event) => problems.push("policy: " + event.blockedURI));
</script>"""

# Runs after the map is drawn; what it returns ends up in the title.
PROBE = """<script>
const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
function* deep(root) {
  for (const element of root.querySelectorAll("*")) {
    yield element;
    if (element.shadowRoot) yield* deep(element.shadowRoot);
  }
}
async function hover(index) {
  const view = [...Bokeh.index.roots][0];
  const { x, y } = Bokeh.documents[0].get_model_by_name("points").data_source.data;
  view.el.scrollIntoView({ block: "center" });
  await wait(200);
  const box = view.canvas_view.events_el.getBoundingClientRect();
  const clientX = box.left + view.frame.x_scale.compute(x[index]);
  const clientY = box.top + view.frame.y_scale.compute(y[index]);
  const options = { clientX, clientY, view: window, isPrimary: true, bubbles: true, composed: true };
  view.canvas_view.events_el.dispatchEvent(new PointerEvent("pointermove", options));
  await wait(400);
  const found = { text: "", image: "", position: "", clientX, clientY };
  for (const element of deep(document)) {
    if (element.className === "bk-tooltip-content") found.text = element.innerText;
    const style = getComputedStyle(element);
    if (style.backgroundImage.startsWith("url") && style.backgroundRepeat === "no-repeat") {
      found.image = style.backgroundImage;
      found.position = style.backgroundPosition;
    }
  }
  return found;
}
addEventListener("load", async () => {
  while (document.querySelector("#map-plot") && !(window.Bokeh && Bokeh.documents.length)) await wait(50);
  await wait(500);
  let result;
  try { result = await (async () => { %s })(); } catch (error) { result = { failure: String(error) }; }
  const requests = performance.getEntriesByType("resource").map((entry) => entry.name);
  document.title = JSON.stringify({ result, problems, requests, broken: window.broken ?? null });
});
</script>"""


def in_browser(page: Path, script: str, *, address: str | None = None) -> dict:
    """Open a copy of `page` that runs `script` at its end; what that returned, and what went wrong.

    The page is opened from the disk, or from a server that has its folder at `address`.
    """
    text = page.read_text(encoding="utf-8")
    copy = page.with_name("probed.html")
    copy.write_text(text.replace("<head>", "<head>" + WATCH, 1).replace("</body>", PROBE % script + "</body>"))
    profile = tempfile.mkdtemp(dir=page.parent)
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={profile}", "--window-size=1280,900", "--virtual-time-budget=20000",
        "--dump-dom", f"{address}/{copy.name}" if address else copy.as_uri(),
    ]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    copy.unlink()
    title = re.search(r"<title>(\{.*?\})</title>", dom, re.DOTALL)
    assert title, "the page never came to the end of the script"
    return json.loads(html.unescape(title[1]))


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> FolderWriter:
    writer = FolderWriter(
        tmp_path_factory.mktemp("browser") / "study",
        methods=("moco", "frozen"),
        sizes=("5", "20"),
        augmentations=("weak",),
        classes=HOSTILE,
        file_name="<i>scan</i>@{x}",
    )
    writer.write()
    write_assets(writer.path, writer.store, writer.indices)
    write_report(writer.path)
    return writer


@pytest.fixture(scope="module")
def server(study) -> Iterator[str]:
    """Address of a local server that has the study's folder."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(study.path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_hovering_a_point_shows_its_image_and_its_names_as_text(study):
    seen = in_browser(study.path / "report.html", "return await hover(7);")
    assert seen["problems"] == []
    tooltip = seen["result"]
    name = study.store.names[study.indices[7]]
    assert name in tooltip["text"]
    assert f"true {HOSTILE[study.labels[7]]}" in tooltip["text"]
    assert tooltip["image"].startswith('url("blob:')
    # The eighth thumbnail of 19 in a row, 96 pixels each.
    assert tooltip["position"] == "-672px 0px"
    assert seen["broken"] is None


def test_no_request_leaves_the_report(study, server):
    # From a server, because browsers do not list what they read from the disk.
    seen = in_browser(study.path / "report.html", "return await hover(7);", address=server)
    assert [name for name in seen["requests"] if not name.startswith(("data:", "blob:"))] == []
    assert seen["problems"] == []


def test_a_page_that_grows_comes_back_to_its_readers_place(study):
    """What it keeps before it reloads, and what it makes of that: in two visits, for a reload would end the script."""
    page = study.path / "growing.html"
    page.write_text(render(read_study(study.path), growing=True), encoding="utf-8")
    leave = """
    document.querySelector("#cell-search").value = "frozen";
    scrollTo(0, 640);
    keepPlace();
    return JSON.parse(sessionStorage.getItem("selfsup-place"));
    """
    kept = in_browser(page, leave)["result"]
    assert (kept["top"], kept["search"]) == (640, "frozen")
    place = f"{{...{json.dumps(kept)}, page: location.pathname}}"
    script = f"<script>sessionStorage.setItem('selfsup-place', JSON.stringify({place}))</script>"
    page.write_text(page.read_text(encoding="utf-8").replace("<head>", f"<head>{script}", 1), encoding="utf-8")
    come_back = "return [scrollY, document.querySelector('#cell-search').value, problems.length];"
    assert in_browser(page, come_back)["result"] == [640, "frozen", 0]


def test_a_finished_page_stays_as_it_is(study):
    assert "selfsup-place" not in (study.path / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def cell_page(study) -> Path:
    rows = slice(0, 40)
    data = Map(
        points=study.projection[rows],
        groups=study.labels[rows],
        names=HOSTILE,
        files=tuple(study.store.names[i] for i in study.indices[rows]),
        predicted=study.labels[rows],
        slots=study.indices.searchsorted(study.indices[rows]),
        sheet=sheet_for(len(study.indices)),
    )
    page = study.path / "cells" / "frozen-resnet18-n20-s0" / "tsne.html"
    page.write_text(tsne_page(data, title="frozen-resnet18-n20-s0"), encoding="utf-8")
    return page


def test_a_cell_page_opens_from_the_disk(study, cell_page):
    seen = in_browser(cell_page, "return await hover(3);")
    assert seen["problems"] == []
    assert study.store.names[study.indices[3]] in seen["result"]["text"]
    assert seen["result"]["image"].endswith('/study/assets/thumbnails.webp")')
    assert seen["result"]["position"] == "-288px 0px"


def test_a_cell_page_takes_its_files_from_the_study(cell_page, server):
    seen = in_browser(cell_page, "return await hover(3);", address=f"{server}/cells/frozen-resnet18-n20-s0")
    assert seen["problems"] == []
    fetched = [name for name in seen["requests"] if not name.startswith("data:")]
    assert sorted(fetched) == [f"{server}/assets/bokeh.min.js", f"{server}/assets/thumbnails.webp"]


def test_a_class_can_be_hidden_without_moving_the_map(study):
    script = """
    const points = Bokeh.documents[0].get_model_by_name("points");
    const range = Bokeh.documents[0].roots()[0].x_range;
    const state = () => [points.view.filter.indices.length, range.start, range.end];
    const before = state();
    document.querySelector(".map-key").click();
    await wait(300);
    const hidden = state();
    document.querySelector('[data-map="all"]').click();
    await wait(300);
    return [before, hidden, state()];
    """
    before, hidden, shown = in_browser(study.path / "report.html", script)["result"]
    assert before[0] == len(study.indices)
    assert hidden[0] == int((study.labels != 0).sum())
    assert before[1:] == hidden[1:]
    assert shown == before


def test_wrong_predictions_can_be_seen_alone(study):
    script = """
    document.querySelector('[data-map="wrong"]').click();
    await wait(200);
    const { data } = Bokeh.documents[0].get_model_by_name("points").data_source;
    const { indices } = Bokeh.documents[0].get_model_by_name("points").view.filter;
    return [indices.length, [...data.wrong].reduce((a, b) => a + b, 0)];
    """
    shown, wrong = in_browser(study.path / "report.html", script)["result"]
    assert shown == wrong > 0


def test_a_file_can_be_searched_on_the_map(study):
    name = study.store.names[study.indices[7]]
    script = f"""
    const search = document.querySelector("#map-search");
    search.value = {json.dumps(name.upper())};
    search.dispatchEvent(new Event("input"));
    await wait(200);
    const {{ indices }} = Bokeh.documents[0].get_model_by_name("points").view.filter;
    const found = indices.length;
    search.dispatchEvent(new KeyboardEvent("keydown", {{ key: "Enter" }}));
    return [found, document.querySelector("#map-neighbours").innerText, indices[0]];
    """
    found, text, place = in_browser(study.path / "report.html", script)["result"]
    assert found == 1
    assert place == 7
    assert text.startswith(f"{name} (")


def test_a_click_on_a_point_shows_the_images_nearest_to_it(study):
    script = """
    const { clientX, clientY } = await hover(3);
    const { events_el } = [...Bokeh.index.roots][0].canvas_view;
    events_el.dispatchEvent(new PointerEvent("click", { clientX, clientY, bubbles: true, composed: true }));
    await wait(500);
    const shown = [...document.querySelectorAll("#map-neighbours figure")];
    return shown.map((figure) => [
      figure.querySelector("span").textContent,
      getComputedStyle(figure.querySelector(".map-thumbnail")).backgroundImage.slice(0, 9),
    ]);
    """
    shown = in_browser(study.path / "report.html", script)["result"]
    features = study.features.astype(np.float32)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    nearest = np.argsort(-(unit @ unit[3]), kind="stable")[:8]
    assert shown[0][0] == study.store.names[study.indices[3]]
    assert {name for name, _ in shown} == {study.store.names[study.indices[row]] for row in nearest}
    assert {image for _, image in shown} == {'url("blob'}


def test_the_map_switches_to_principal_components_and_back(study):
    script = """
    const points = Bokeh.documents[0].get_model_by_name("points");
    const range = Bokeh.documents[0].roots()[0].x_range;
    const state = () => [[...points.data_source.data.x], range.start, range.end];
    const press = async (layout) => {
      document.querySelector(`[data-layout="${layout}"]`).click();
      await wait(400);
      return state();
    };
    const before = state();
    return [before, await press("components"), await hover(7), await press("tsne")];
    """
    seen = in_browser(study.path / "report.html", script)
    before, components, tooltip, after = seen["result"]
    features = study.features.astype(np.float32)
    unrotated = features - features.mean(axis=0)
    first = unrotated @ np.linalg.svd(unrotated, full_matrices=False)[2][0]
    assert abs(np.corrcoef(components[0], first)[0, 1]) > 0.999
    assert components[1] <= min(components[0])
    assert max(components[0]) <= components[2]
    assert study.store.names[study.indices[7]] in tooltip["text"]
    assert after[0] == before[0]
    assert after[1:] == pytest.approx(before[1:], rel=1e-4)
    assert seen["problems"] == []


def test_the_squares_of_the_confusion_matrix_are_reached_by_keys(study):
    script = """
    const said = document.querySelector("#square");
    const squares = [...document.querySelectorAll(".confusion tbody td")];
    const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    const reached = () => [squares.indexOf(document.activeElement), said.textContent === document.activeElement.title];
    const stops = squares.filter((square) => square.tabIndex === 0).length;
    squares[0].focus();
    const seen = [reached()];
    for (const key of ["ArrowRight", "ArrowDown", "ArrowLeft", "ArrowLeft", "ArrowUp", "ArrowUp"]) {
      press(key);
      seen.push(reached());
    }
    squares[5].dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
    return [stops, seen, said.textContent === squares[5].title];
    """
    stops, seen, pointed = in_browser(study.path / "report.html", script)["result"]
    assert stops == 1
    assert seen == [[place, True] for place in (0, 1, 4, 3, 3, 0, 0)]
    assert pointed


def test_the_table_of_cells_is_not_cut_on_a_laptop(study):
    """With a value in every column, at 1280 pixels."""
    script = """
    const box = document.querySelector(".cells");
    return [box.scrollWidth, box.clientWidth];
    """
    page = study.path / "full.html"
    read = read_study(study.path)
    longest = {column.name: 0.1234 for column in shown_columns() if column.form} | {
        "cell": "supervised-resnet18-simclr-lr0.0001-n200-s0", "method": "supervised", "augmentation": "simclr",
        "lr": 0.0001, "per_class": "200", "seed": 0.0, "status": "collapsed", "clusters": 10.0,
        "train_seconds": 12345.0,
    }  # fmt: skip
    full = read.results.assign(**longest)
    page.write_text(render(replace(read, results=full)), encoding="utf-8")
    scrolled, shown = in_browser(page, script)["result"]
    assert scrolled <= shown > 0


#: What is in boxes that scroll, and how wide these are, in a window of another width.
IN_A_FRAME = """
const frame = document.createElement("iframe");
frame.style.width = "%dpx";
frame.srcdoc = document.documentElement.outerHTML.replace(/<script.*?<\\/script>/gs, "");
document.body.append(frame);
await new Promise((done) => frame.onload = done);
const of = (selector) => frame.contentDocument.querySelector(selector);
"""


def test_what_was_found_is_seen_on_a_telephone_without_scrolling(study):
    script = (
        IN_A_FRAME.replace("%d", "390")
        + """
    const [box, word] = [of(".sure .scroll"), of(".against .word")];
    return [box.scrollWidth, box.clientWidth, word.getBoundingClientRect().right];
    """
    )
    needed, shown, right = in_browser(study.path / "report.html", script)["result"]
    assert needed <= shown <= 390
    assert 0 < right < 390


def test_settings_are_seen_on_a_small_telephone_with_no_name_broken(study):
    script = (
        IN_A_FRAME.replace("%d", "375")
        + """
    const box = of(".plot + .scroll");
    const heights = [...box.querySelectorAll("tbody tr")].map((row) => row.offsetHeight);
    return [box.scrollWidth, box.clientWidth, Math.max(...heights), Math.min(...heights)];
    """
    )
    needed, shown, highest, lowest = in_browser(study.path / "report.html", script)["result"]
    assert needed <= shown
    assert highest - lowest <= 1


def test_the_table_of_cells_stays_within_the_column_of_text_where_the_window_is_narrow(study):
    script = (
        IN_A_FRAME.replace("%d", "1200")
        + """
    const [box, text] = [of(".cells"), of("#cells-title")].map((found) => found.getBoundingClientRect());
    return [box.left, box.right, text.left, text.right];
    """
    )
    left, right, first, last = in_browser(study.path / "report.html", script)["result"]
    assert first <= left < right <= last


def test_the_squares_of_the_confusion_matrix_say_their_classes(study):
    script = """
    return [...document.querySelectorAll(".confusion tbody td")].map((cell) => [cell.textContent, cell.title]);
    """
    squares = in_browser(study.path / "report.html", script)["result"]
    assert len(squares) == len(HOSTILE) ** 2
    count, title = squares[1]
    assert re.fullmatch(
        rf"{count or 0} of \d+ images of {re.escape(HOSTILE[0])} taken for {re.escape(HOSTILE[1])}", title
    )
    assert "named rightly" in squares[0][1]


def test_the_table_of_cells_can_be_sorted_and_searched(study):
    script = """
    const table = document.querySelector("#cell-table");
    const headers = [...table.tHead.rows[0].cells];
    const column = (title) => headers.findIndex((header) => header.innerText.trim().startsWith(title));
    const read = (title) => [...table.tBodies[0].rows].map((row) => row.cells[column(title)].innerText);
    const click = (title) => headers[column(title)].querySelector("button").click();
    click("validation");
    const up = read("validation");
    click("validation");
    const down = read("validation");
    click("lr");
    const lrs = read("lr");
    const search = document.querySelector("#cell-search");
    search.value = "diverged n5";
    search.dispatchEvent(new Event("input"));
    const left = [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[0].innerText);
    return { up, down, lrs, left, said: document.querySelector("#cell-count").innerText };
    """
    found = in_browser(study.path / "report.html", script)["result"]
    numbers = [float(text) for text in found["up"] if text]
    assert numbers == sorted(numbers)
    assert [float(text) for text in found["down"] if text] == numbers[::-1]
    # Cells without a value stay last either way.
    assert found["up"][-1] == found["down"][-1] == ""
    assert [float(text) for text in found["lrs"] if text] == sorted(float(text) for text in found["lrs"] if text)
    assert found["left"] == ["moco-resnet18-weak-lr10-n5-s0"]
    assert found["said"] == "1 of 8 cells"


def test_the_page_fits_a_phone(study, server):
    frame = study.path / "phone.html"
    frame.write_text("<html><head></head><body><iframe src=report.html width=390 height=800></iframe></body></html>")
    script = """
    await wait(1500);
    const { contentWindow, contentDocument } = document.querySelector("iframe");
    const title = contentDocument.querySelector("h1").getBoundingClientRect();
    return [contentDocument.documentElement.scrollWidth, contentWindow.innerWidth, title.right];
    """
    width, screen, title = in_browser(frame, script, address=server)["result"]
    assert width <= screen == 390
    assert title <= 390
