"use strict";
{
  const { points, near, cosines, paths, labels, captions, words, clusters, colours, columns, side, sheet } = DATA;
  const canvas = document.getElementById("map");
  const peek = document.getElementById("peek");
  const panel = document.getElementById("near");
  const MARGIN = 0.03;
  let colour = "cluster", chosen = null, matches = null, size = 0;

  const spot = (row) => points[row].map((value, axis) => (MARGIN + (1 - 2 * MARGIN) * (axis ? 1 - value : value)) * size);

  const said = (row) => captions ? captions[row] : "";

  // One picture holds all thumbnails; an element shows its own part of it.
  function show(element, row) {
    if (words) {
      element.classList.add("words");
      element.textContent = said(row);
      return;
    }
    if (captions) element.title = said(row);
    const rows = Math.ceil(points.length / columns);
    const part = (place, count) => (count > 1 ? (100 * place) / (count - 1) : 0) + "%";
    element.style.backgroundImage = `url(${sheet})`;
    element.style.backgroundSize = `${columns * 100}% ${rows * 100}%`;
    element.style.backgroundPosition = `${part(row % columns, columns)} ${part(Math.floor(row / columns), rows)}`;
  }

  function draw() {
    const ratio = devicePixelRatio || 1;
    size = canvas.clientWidth;
    canvas.width = canvas.height = Math.round(size * ratio);
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const radius = Math.max(2, Math.min(5, size / Math.sqrt(points.length) / 4));
    const lit = new Set(chosen === null ? [] : near[chosen]);
    for (let row = 0; row < points.length; row++) {
      const [x, y] = spot(row);
      pen.globalAlpha = matches && !matches.has(row) ? 0.12 : 0.85;
      pen.fillStyle = colours[colour][row];
      pen.beginPath();
      pen.arc(x, y, lit.has(row) ? radius * 1.6 : radius, 0, 7);
      pen.fill();
    }
    if (chosen !== null) {
      const [x, y] = spot(chosen);
      pen.globalAlpha = 1;
      pen.strokeStyle = getComputedStyle(document.body).color;
      pen.lineWidth = 2;
      pen.beginPath();
      pen.arc(x, y, radius * 2.4, 0, 7);
      pen.stroke();
    }
  }

  function closest(event) {
    const box = canvas.getBoundingClientRect();
    const at = [event.clientX - box.left, event.clientY - box.top];
    let best = null, least = 18 ** 2;
    for (let row = 0; row < points.length; row++) {
      const [x, y] = spot(row);
      const distance = (x - at[0]) ** 2 + (y - at[1]) ** 2;
      if (distance < least) [best, least] = [row, distance];
    }
    return best;
  }

  function thumb(row, text) {
    const cell = document.createElement("div");
    const button = document.createElement("button");
    button.className = "thumb";
    button.dataset.row = row;
    button.setAttribute("aria-label", paths[row]);
    show(button, row);
    const note = document.createElement("small");
    note.textContent = text;
    cell.append(button, note);
    return cell;
  }

  function choose(row) {
    chosen = row;
    const title = document.createElement("h3");
    title.textContent = paths[row];
    const own = thumb(row, labels ? labels[row] : `cluster ${clusters[row] + 1}`);
    own.className = "chosen";
    const grid = document.createElement("div");
    grid.className = "grid";
    near[row].forEach((other, place) =>
      grid.append(thumb(other, cosines[row][place].toFixed(2) + (labels ? ` ${labels[other]}` : ""))));
    panel.replaceChildren(title, own, grid);
    draw();
  }

  canvas.addEventListener("pointermove", (event) => {
    const row = closest(event);
    peek.hidden = row === null;
    if (row === null) return;
    const [x, y] = spot(row);
    show(peek.firstElementChild, row);
    const name = labels ? labels[row] : paths[row].split("/").pop();
    peek.lastElementChild.textContent = [name, words ? "" : said(row)].filter(Boolean).join(", ");
    peek.style.left = Math.min(x + 12, size - 110) + "px";
    peek.style.top = Math.min(y + 12, size - 120) + "px";
  });
  canvas.addEventListener("pointerleave", () => { peek.hidden = true; });
  canvas.addEventListener("click", (event) => {
    const row = closest(event);
    if (row !== null) choose(row);
  });
  canvas.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, 1], ArrowDown: [1, -1] }[event.key];
    if (!way || chosen === null) return;
    event.preventDefault();
    const ahead = near[chosen].filter((row) => (points[row][way[0]] - points[chosen][way[0]]) * way[1] > 0);
    if (ahead.length) choose(ahead[0]);
  });
  document.addEventListener("click", (event) => {
    const row = event.target.dataset && event.target.dataset.row;
    if (row !== undefined) choose(Number(row));
  });
  for (const input of document.querySelectorAll("input[name=colour]"))
    input.addEventListener("change", () => {
      colour = input.value;
      const legend = document.getElementById("legend");
      if (legend) legend.hidden = colour !== "label";
      draw();
    });
  document.getElementById("find").addEventListener("input", (event) => {
    const word = event.target.value.trim().toLowerCase();
    matches = word ? new Set(paths.flatMap((path, row) => (path.toLowerCase().includes(word) ? [row] : []))) : null;
    document.getElementById("found").textContent = matches ? `${matches.size} found` : "";
    draw();
  });
  for (const button of document.querySelectorAll(".contact .thumb")) show(button, Number(button.dataset.row));
  addEventListener("resize", draw);
  choose(0);
}
