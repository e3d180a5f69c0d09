// While the study runs: load the page anew, unless its reader is busy, and come back to where they were.
(() => {
  const EVERY = 30_000, IDLE = 5_000;
  const search = document.querySelector("#cell-search");
  let busy = 0;
  for (const kind of ["pointermove", "pointerdown", "wheel", "keydown", "touchmove"])
    addEventListener(kind, () => { busy = Date.now(); }, { passive: true });

  const kept = JSON.parse(sessionStorage.getItem("selfsup-place") ?? "null");
  if (kept !== null && kept.page === location.pathname) {
    document.querySelectorAll("details").forEach((box, index) => { box.open = kept.open.includes(index); });
    if (search !== null && kept.search) {
      search.value = kept.search;
      search.dispatchEvent(new Event("input"));
    }
    scrollTo(0, kept.top);
  }

  function keepPlace() {
    const open = [...document.querySelectorAll("details")].flatMap((box, index) => (box.open ? [index] : []));
    const place = { page: location.pathname, top: scrollY, open, search: search?.value ?? "" };
    sessionStorage.setItem("selfsup-place", JSON.stringify(place));
  }
  window.keepPlace = keepPlace;

  setInterval(() => {
    if (Date.now() - busy < IDLE || !getSelection().isCollapsed) return;
    keepPlace();
    location.reload();
  }, EVERY);
})();
