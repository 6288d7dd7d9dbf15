
const choices = document.querySelectorAll("input[name=colour]");
if (choices.length) {
  const points = [...document.querySelectorAll("#maps circle:not(.ring)")];
  const classes = points.map((point) => point.getAttribute("fill"));
  for (const choice of choices) {
    choice.addEventListener("change", () => {
      const marks = choice.value === "marks";
      points.forEach((point, row) => { point.style.fill = marks ? SHEET.marks[row] : classes[row]; });
      document.getElementById("verdicts").hidden = !marks;
      const legend = document.getElementById("classes");
      if (legend) legend.hidden = marks;
    });
  }
}
