"use strict";
{
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const phone = matchMedia("(max-width: 30rem)");
  const config = { displaylogo: false, displayModeBar: false, responsive: true };

  // Plotly.js stands in the page deflated and in base64. Only microtasks are awaited here, so the
  // figures are drawn before the page's load event.
  async function load() {
    const packed = atob(document.getElementById("plotly").textContent);
    const inflated = new DecompressionStream("deflate");
    const writer = inflated.writable.getWriter();
    writer.write(Uint8Array.from(packed, (letter) => letter.charCodeAt(0)));
    writer.close();
    const decoder = new TextDecoder();
    let text = "";
    for (const reader = inflated.readable.getReader(); ;) {
      const { done, value } = await reader.read();
      if (done) break;
      text += decoder.decode(value, { stream: true });
    }
    const script = document.createElement("script");
    script.textContent = text + decoder.decode();
    document.head.append(script);
  }

  // Figures come in light colours; each has a twin for a dark screen.
  const coloured = (value) =>
    typeof value === "string" ? (dark.matches && DARK[value]) || value
    : Array.isArray(value) ? value.map(coloured)
    : value && typeof value === "object" ? Object.fromEntries(Object.entries(value).map(([key, one]) => [key, coloured(one)]))
    : value;

  // On a phone the names of bars stand above them, where they take no width.
  const narrowed = (layout, traces) => {
    if (layout.yaxis?.type !== "category") return layout;
    const rows = [...new Set(traces.flatMap((trace) => trace.y))];
    const row = 60, gap = 0.5;
    const names = rows.map((name) => ({
      text: name, y: name, yshift: (row * (1 - gap)) / 2 + 9, xref: "paper", x: 0, xanchor: "left", showarrow: false,
      font: { size: 12 },
    }));
    return {
      ...layout, bargap: gap, height: row * rows.length + 80, annotations: [...(layout.annotations ?? []), ...names],
      yaxis: { ...layout.yaxis, showticklabels: false },
    };
  };

  const draw = () => {
    for (const { id, traces, layout } of PLOTS) {
      const shown = phone.matches ? narrowed(layout, traces) : layout;
      document.getElementById(id).style.minHeight = `${shown.height}px`;
      Plotly.react(id, coloured(traces), coloured({ ...shown, template: TEMPLATE }), config);
    }
  };

  load().then(() => {
    draw();
    for (const media of [phone, dark]) media.addEventListener("change", draw);
  });
}
