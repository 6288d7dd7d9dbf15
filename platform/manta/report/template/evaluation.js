
if (PLOTS.length) {
  const styles = getComputedStyle(document.documentElement);
  // "--ink" and the like stand for the page's colours, which follow the colour scheme.
  const coloured = (value) =>
    typeof value === "string" ? (value.startsWith("--") ? styles.getPropertyValue(value).trim() : value)
    : Array.isArray(value) ? value.map(coloured)
    : value && typeof value === "object" ? Object.fromEntries(Object.entries(value).map(([key, one]) => [key, coloured(one)]))
    : value;
  // On a phone the names of bars stand above them, where they take no width.
  const narrowed = (layout, traces) => {
    if (layout.yaxis.type !== "category") return layout;
    const rows = [...new Set(traces.flatMap((trace) => trace.y))];
    const row = 60, gap = 0.5;
    const names = rows.map((name) => ({
      text: name, y: name, yshift: (row * (1 - gap)) / 2 + 9, xref: "paper", x: 0, xanchor: "left", showarrow: false,
      font: { size: 12 },
    }));
    return {
      ...layout, bargap: gap, height: row * rows.length + 80, annotations: [...layout.annotations, ...names],
      yaxis: { ...layout.yaxis, showticklabels: false },
    };
  };
  const phone = matchMedia("(max-width: 30rem)");
  const config = { displaylogo: false, displayModeBar: false, responsive: true };
  const draw = () => {
    for (const plot of PLOTS) {
      const layout = phone.matches ? narrowed(plot.layout, plot.traces) : plot.layout;
      document.getElementById(plot.id).style.minHeight = `${layout.height}px`;
      Plotly.react(plot.id, coloured(plot.traces), coloured(layout), config);
    }
  };
  draw();
  for (const media of [phone, matchMedia("(prefers-color-scheme: dark)")]) media.addEventListener("change", draw);
}

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
