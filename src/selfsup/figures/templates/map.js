
(async () => {
  const sheet = document.getElementById("map-thumbnails");
  if (sheet !== null) {
    // Not a data: address, because browsers cut custom properties off at 2 MB.
    const bytes = Uint8Array.from(atob(sheet.textContent), (character) => character.charCodeAt(0));
    const address = URL.createObjectURL(new Blob([bytes], { type: "image/webp" }));
    document.documentElement.style.setProperty("--thumbs", `url("${address}")`);
  }
  const item = JSON.parse(document.getElementById("map-item").textContent);
  await Bokeh.embed.embed_item(item, "map-plot");
  const plot = Bokeh.documents[Bokeh.documents.length - 1];
  const points = plot.get_model_by_name("points");
  const rings = plot.get_model_by_name("rings");
  const { x, y, component_x, component_y, group, wrong, file, group_name, predicted, left, top } = points.data_source.data;
  const names = file.map((name) => name.toLowerCase());
  const search = document.getElementById("map-search");
  const keys = [...document.querySelectorAll(".map-key")];
  const onlyWrong = document.querySelector('[data-map="wrong"]');
  const isOn = (button) => button !== null && button.getAttribute("aria-pressed") === "true";
  const set = (button, on) => button.setAttribute("aria-pressed", String(on));

  function show() {
    const groups = new Set(keys.filter(isOn).map((key) => Number(key.dataset.group)));
    const wanted = search.value.toLowerCase();
    const fits = (i) => groups.has(group[i]) && (!isOn(onlyWrong) || wrong[i]) && names[i].includes(wanted);
    const shown = [...group.keys()].filter(fits);
    points.view.filter.indices = shown;
    rings.view.filter.indices = shown.filter((i) => wrong[i]);
    return shown;
  }

  search.addEventListener("input", show);
  search.addEventListener("keydown", (event) => {
    const [first] = event.key === "Enter" ? show() : [];
    if (first !== undefined) showNeighbours(first);
  });

  // -- two layouts of the same points ----------------------------------------------------------
  const layouts = { tsne: { x, y }, components: { x: component_x, y: component_y } };

  function lay(button) {
    document.querySelectorAll("[data-layout]").forEach((other) => set(other, other === button));
    points.data_source.data = { ...points.data_source.data, ...layouts[button.dataset.layout] };
    plot.roots()[0].reset.emit();
  }

  // -- the images nearest to one ---------------------------------------------------------------
  const panel = document.getElementById("map-neighbours");
  const nearest = panel && JSON.parse(document.getElementById("map-nearest").textContent);

  function describe(i) {
    const figure = document.getElementById("map-neighbour").content.firstElementChild.cloneNode(true);
    const thumbnail = figure.querySelector(".map-thumbnail");
    if (thumbnail) thumbnail.style.backgroundPosition = `${left[i] * nearest.scale}px ${top[i] * nearest.scale}px`;
    figure.querySelector("b").textContent = group_name[i];
    figure.querySelector("span").textContent = file[i];
    return figure;
  }

  function showNeighbours(i) {
    if (panel === null) return;
    const heading = document.createElement("p");
    const taken = predicted && predicted[i] !== group_name[i] ? `, taken for ${predicted[i]}` : "";
    heading.textContent = `${file[i]} (${group_name[i]}${taken}) and the images nearest to it in the embedding:`;
    panel.replaceChildren(heading, ...[i, ...nearest.places[i]].map(describe));
  }

  document.querySelector(".map").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button === null) return;
    if (button.dataset.layout) return lay(button);
    const action = button.dataset.map;
    if (action === "all" || action === "none") keys.forEach((key) => set(key, action === "all"));
    else set(button, !isOn(button));
    show();
  });

  // A finger does not hover: tell Bokeh that the pointer is where the tap was.
  document.getElementById("map-plot").addEventListener("click", (event) => {
    const { clientX, clientY } = event;
    const move = { clientX, clientY, view: window, isPrimary: true, bubbles: true, composed: true };
    event.composedPath()[0].dispatchEvent(new PointerEvent("pointermove", move));
    // Bokeh finds out what is under the pointer in its own time.
    setTimeout(() => {
      const [found] = points.data_source.inspected.indices;
      if (found !== undefined) showNeighbours(found);
    }, 150);
  });
})();
