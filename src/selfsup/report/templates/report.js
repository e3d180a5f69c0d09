
(() => {
  const table = document.querySelector("#cell-table");
  if (table === null) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const search = document.querySelector("#cell-search");
  const count = document.querySelector("#cell-count");

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${rows.length} cells`;
  }

  function compare(a, b) {
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
  }

  function sort(header) {
    const down = header.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => row.cells[header.cellIndex].dataset.value ?? row.cells[header.cellIndex].textContent;
    const filled = rows.filter((row) => key(row) !== "").sort((a, b) => compare(key(a), key(b)));
    if (down) filled.reverse();
    // Cells without a value stay last, whichever way the others run.
    body.append(...filled, ...rows.filter((row) => key(row) === ""));
  }

  search.addEventListener("input", filter);
  table.tHead.addEventListener("click", (event) => {
    const header = event.target.closest("th");
    if (header !== null) sort(header);
  });
  filter();
})();

(() => {
  const matrix = document.querySelector(".confusion");
  if (matrix === null) return;
  const said = document.querySelector("#square");
  const rows = [...matrix.tBodies[0].rows].map((row) => [...row.querySelectorAll("td")]);
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

  function tell(event) {
    const square = event.target.closest("tbody td");
    if (square !== null) said.textContent = square.title;
  }

  // One square is reached by Tab, the others from there: a large matrix is no trap.
  function step(event) {
    const by = steps[event.key];
    const square = event.target.closest("tbody td");
    if (by === undefined || square === null) return;
    event.preventDefault();
    const row = square.parentElement.sectionRowIndex + by[0];
    const next = rows[row]?.[square.cellIndex - 1 + by[1]];
    if (next === undefined) return;
    square.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }

  for (const type of ["pointerover", "click", "focusin"]) matrix.addEventListener(type, tell);
  matrix.addEventListener("keydown", step);
})();
