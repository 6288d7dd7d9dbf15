"use strict";

for (const block of document.querySelectorAll(".code")) {
  const button = block.querySelector("button");
  const text = block.querySelector("code").textContent;
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}

const maps = document.getElementById("maps");
if (maps) {
  const charts = [...maps.querySelectorAll("svg")];
  const points = charts.map((chart) => [...chart.querySelectorAll("circle:not(.ring)")]);
  const rings = charts.map((chart) => chart.querySelector(".ring"));
  const peek = document.getElementById("peek");
  const picture = peek.querySelector("i");
  const caption = peek.querySelector("span");
  picture.hidden = SHEET.words;
  picture.style.backgroundImage = `url(${SHEET.image})`;
  picture.style.backgroundSize = `${SHEET.columns * 100}% ${SHEET.rows * 100}%`;

  const nearest = (chart, event) => {
    const box = charts[chart].getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * 100;
    const y = (event.clientY - box.top) / box.height * 100;
    let best = -1, least = 36;
    points[chart].forEach((point, index) => {
      const distance = (point.cx.baseVal.value - x) ** 2 + (point.cy.baseVal.value - y) ** 2;
      if (distance < least) { best = index; least = distance; }
    });
    return best;
  };

  const show = (chart, index) => {
    peek.hidden = index < 0;
    rings.forEach((ring, other) => {
      const point = index < 0 ? null : points[other][index];
      ring.setAttribute("cx", point ? point.getAttribute("cx") : -9);
      ring.setAttribute("cy", point ? point.getAttribute("cy") : -9);
    });
    if (index < 0) return;
    const column = index % SHEET.columns, row = Math.floor(index / SHEET.columns);
    const share = (place, count) => count > 1 ? place / (count - 1) * 100 : 0;
    picture.style.backgroundPosition = `${share(column, SHEET.columns)}% ${share(row, SHEET.rows)}%`;
    const told = [SHEET.labels ? `label ${SHEET.labels[index]}` : "", SHEET.captions ? SHEET.captions[index] : ""];
    caption.textContent = told.filter(Boolean).join(SHEET.words ? ": " : ", ");
    const frame = maps.getBoundingClientRect();
    const spot = points[chart][index].getBoundingClientRect();
    const left = spot.left - frame.left + 14;
    peek.style.left = `${left + 100 > frame.width ? left - 122 : left}px`;
    peek.style.top = `${Math.max(spot.top - frame.top - 50, 0)}px`;
  };

  charts.forEach((chart, index) => {
    for (const kind of ["pointermove", "pointerdown"]) {
      chart.addEventListener(kind, (event) => show(index, nearest(index, event)));
    }
    chart.addEventListener("pointerleave", () => show(index, -1));
  });
}
