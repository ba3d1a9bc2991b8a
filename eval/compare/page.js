"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const columns = new Map(data.columns.map((column) => [column.name, column]));
const $ = (id) => document.getElementById(id);
const colourOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const MOST_VALUES = 30; // of a setting that is drawn as an axis, or told by colours, from the start
const MOST_SETTINGS = 6; // that are drawn as axes from the start
const PALETTE = ["#2a6f97", "#d1603d", "#4f9d69", "#8a5a9e", "#c9a227", "#3aa6a6", "#b5486b", "#6b7a3a", "#5b6fd1", "#8c6d4f"];
const SCALE = [[0, "#31356e"], [0.3, "#2a6f97"], [0.6, "#4f9d69"], [0.85, "#c9a227"], [1, "#e8d36a"]];

const value = (run, name) => run.values[name];
const has = (run, name) => value(run, name) !== undefined;
const short = (text, most = 26) => (text.length <= most ? text : `${text.slice(0, most / 2 - 1)}…${text.slice(1 - most / 2)}`);
const shown = (number) => {
  if (Number.isInteger(number)) return Math.abs(number) >= 10000 ? number.toLocaleString("en") : String(number);
  return Math.abs(number) >= 100 ? number.toFixed(1) : String(Number(number.toPrecision(4)));
};
const textOf = (found) => (found === undefined ? "–" : typeof found === "number" ? shown(found) : found);
const escaped = (text) => String(text).replace(/[&<>"]/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[sign]);
const titled = (column) => column.name + ({ lower: " ↓", higher: " ↑" }[column.better] || "");
const distinct = (name) => [...new Set(data.runs.filter((run) => has(run, name)).map((run) => value(run, name)))].sort();
const named = (kinds) => data.columns.filter((column) => kinds.includes(column.kind));
const plural = (count) => `${count} run${count === 1 ? "" : "s"}`;

function firstFigure() {
  const figures = named(["figure"]);
  return data.first || (figures.find((column) => column.better) || figures[0] || { name: "" }).name;
}

function fill(select, options, chosen) {
  for (const [key, label] of options) select.add(new Option(label, key, false, key === chosen));
}

function layout(more) {
  const line = colourOf("--line");
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colourOf("--ink"), family: "system-ui, sans-serif", size: 13 },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colourOf("--soft"), activecolor: colourOf("--accent") },
    hoverlabel: { bgcolor: colourOf("--card"), bordercolor: line, font: { color: colourOf("--ink") } },
    ...more, xaxis: { ...axis, ...more.xaxis }, yaxis: { ...axis, ...more.yaxis },
  };
}

/* Parallel coordinates. */

function settingsToDraw() {
  const found = named(["setting"]).filter((column) => column.apart && (column.numeric || distinct(column.name).length <= MOST_VALUES));
  return found.length <= MOST_SETTINGS ? found : found.filter((column) => column.name !== "seed");
}

function isWide(column, numbers) {
  return column.kind === "setting" && column.numeric && Math.min(...numbers) > 0 && Math.max(...numbers) / Math.min(...numbers) >= 30;
}

const lines = {
  axes: [
    ...settingsToDraw().slice(0, MOST_SETTINGS),
    ...named(["figure"]).filter((column) => column.better && distinct(column.name).length > 1).slice(0, 5),
  ].map((column) => column.name),
};
if (!lines.axes.some((name) => columns.get(name).kind === "figure")) {
  lines.axes.push(...named(["figure"]).slice(0, 3).map((column) => column.name));
}

function dimension(name, runs) {
  const column = columns.get(name), found = runs.map((run) => value(run, name));
  const label = short(titled(column), 30);
  if (isWide(column, found)) {
    const values = found.map(Math.log10), [low, high] = [Math.min(...values), Math.max(...values)];
    const decades = [...Array(Math.floor(high) - Math.ceil(low) + 1).keys()].map((n) => Math.ceil(low) + n);
    return { label, values, range: [low, high], tickvals: decades, ticktext: decades.map((n) => String(Number(`1e${n}`))) };
  }
  if (column.numeric) {
    let [low, high] = [Math.min(...found), Math.max(...found)];
    if (low === high) [low, high] = [low - 0.5, high + 0.5];
    const ticks = [...new Set(found)].sort((a, b) => a - b);
    const own = column.kind === "setting" && ticks.length <= 8 ? { tickvals: ticks, ticktext: ticks.map(shown) } : {};
    return { label, values: found, range: column.better === "lower" ? [high, low] : [low, high], ...own };
  }
  const names = [...new Set(found)].sort();
  const places = found.map((text) => names.indexOf(text));
  return { label, values: places, tickvals: names.map((_, place) => place), ticktext: names.map((text) => short(text, lines.axes.length > 6 ? 14 : 22)), range: [-0.3, names.length - 0.7] };
}

function drawLines() {
  const kept = data.runs.filter((run) => lines.axes.every((name) => has(run, name)));
  const colour = $("lines-colour").value, column = columns.get(colour);
  const drawn = colour ? kept.filter((run) => has(run, colour)) : kept;
  const left = data.runs.length - drawn.length;
  $("lines-note").textContent = left ? `${plural(left)} of ${data.runs.length} not drawn: no value on an axis or for the colour.` : "";
  $("lines").hidden = drawn.length === 0;
  if (!drawn.length || !lines.axes.length) return;
  const line = { color: colourOf("--accent") };
  if (column) {
    const told = dimension(colour, drawn);
    const bar = { thickness: 12, outlinewidth: 0, title: { text: short(titled(column), 24), side: "right" } };
    if (told.tickvals) Object.assign(bar, { tickvals: told.tickvals, ticktext: told.ticktext });
    Object.assign(line, { color: told.values, colorscale: SCALE, showscale: true, colorbar: bar, reversescale: column.better === "lower" });
    if (drawn.length > 1 && Math.min(...told.values) === Math.max(...told.values)) delete line.colorscale;
  }
  const trace = {
    type: "parcoords", line, dimensions: lines.axes.map((name) => dimension(name, drawn)),
    labelangle: lines.axes.length > 5 ? -18 : 0, labelside: "top",
    labelfont: { size: 12 }, tickfont: { size: 11 }, rangefont: { size: 1, color: "rgba(0,0,0,0)" },
    unselected: { line: { color: colourOf("--line"), opacity: 0.4 } },
  };
  $("lines").style.minWidth = `${Math.max(48, 7 * lines.axes.length)}rem`;
  const margin = { l: 90, r: 110, t: lines.axes.length > 5 ? 110 : 60, b: 30 };
  Plotly.react("lines", [trace], layout({ height: 470, margin }), { displayModeBar: false, responsive: true });
}

function setUpLines() {
  fill($("lines-colour"), [["", "none"], ...data.columns.map((column) => [column.name, titled(column)])], firstFigure());
  $("lines-colour").onchange = drawLines;
  for (const column of data.columns) {
    const label = document.createElement("label"), box = document.createElement("input");
    box.type = "checkbox";
    box.checked = lines.axes.includes(column.name);
    box.onchange = () => {
      const wanted = new Set(lines.axes);
      if (box.checked) wanted.add(column.name); else wanted.delete(column.name);
      lines.axes = data.columns.map((each) => each.name).filter((name) => wanted.has(name));
      drawLines();
    };
    label.append(box, ` ${titled(column)}`);
    $("lines-axes").append(label);
  }
}

/* Scatter plot. */

function hover(run, names) {
  const facts = [...new Set(names)].filter((name) => name && has(run, name)).map((name) => `${escaped(name)}: ${escaped(textOf(value(run, name)))}`);
  return [`<b>${escaped(run.name)}</b>`, escaped(run.photo), ...facts, run.finished ? "" : escaped(short(run.state, 60))].filter(Boolean).join("<br>");
}

function drawDots() {
  const [x, y, colour] = ["dots-x", "dots-y", "dots-colour"].map((id) => $(id).value);
  const drawn = data.runs.filter((run) => has(run, x) && has(run, y));
  const left = data.runs.length - drawn.length;
  $("dots-note").textContent = left ? `${plural(left)} of ${data.runs.length} not drawn: no value of both.` : "";
  const settings = named(["setting"]).map((column) => column.name);
  const trace = (runs, more) => ({
    type: "scatter", mode: "markers", x: runs.map((run) => value(run, x)), y: runs.map((run) => value(run, y)),
    customdata: runs.map((run) => run.link), text: runs.map((run) => hover(run, [x, y, ...settings])),
    hovertemplate: "%{text}<extra></extra>", ...more,
  });
  const marker = { size: 10, opacity: 0.85, line: { width: 1, color: colourOf("--paper") } };
  const column = columns.get(colour), values = column ? distinct(colour) : [];
  let traces;
  if (column && (!column.numeric || (column.kind === "setting" && values.length <= PALETTE.length))) {
    if (column.numeric) values.sort((a, b) => a - b);
    const groups = [...values, undefined].map((each) => [each, drawn.filter((run) => value(run, colour) === each)]);
    traces = groups.filter(([, runs]) => runs.length).map(([each, runs], place) =>
      trace(runs, { name: short(textOf(each), 30), marker: { ...marker, color: PALETTE[place % PALETTE.length] } }));
  } else if (column) {
    const bar = { thickness: 12, outlinewidth: 0, title: { text: titled(column), side: "right" } };
    const known = drawn.filter((run) => has(run, colour)), unknown = drawn.filter((run) => !has(run, colour));
    traces = [
      trace(unknown, { name: "no value", showlegend: false, marker: { ...marker, color: colourOf("--line") } }),
      trace(known, { showlegend: false, marker: { ...marker, color: known.map((run) => value(run, colour)), colorscale: SCALE, showscale: true, colorbar: bar, reversescale: column.better === "lower" } }),
    ].filter((each) => each.x.length);
  } else {
    traces = [trace(drawn, { marker: { ...marker, color: colourOf("--accent") } })];
  }
  const axis = (name) => {
    const shownAlong = columns.get(name), wide = isWide(shownAlong, drawn.map((run) => value(run, name)));
    return { title: { text: titled(shownAlong) }, type: shownAlong.numeric ? (wide ? "log" : "linear") : "category" };
  };
  const legend = { title: { text: column ? column.name : "" } };
  const more = { height: 480, margin: { l: 70, r: 30, t: 20, b: 60 }, xaxis: axis(x), yaxis: axis(y), hovermode: "closest", legend, showlegend: traces.length > 1 };
  const buttons = [["zoom2d", "pan2d", "resetScale2d", "toImage"]];
  Plotly.react("dots", traces, layout(more), { displaylogo: false, modeBarButtons: buttons, responsive: true });
}

function setUpDots() {
  const figures = named(["figure"]), settings = named(["setting"]);
  const few = settings.filter((column) => distinct(column.name).length <= MOST_VALUES);
  const y = firstFigure() || data.columns[0].name;
  const other = figures.find((column) => column.better && column.name !== y) || figures.find((column) => column.name !== y);
  const x = (other || few[0] || data.columns[0]).name;
  const colour = data.colour || (few.find((column) => column.name !== "photo") || few[0] || { name: "" }).name;
  const all = data.columns.map((column) => [column.name, titled(column)]);
  fill($("dots-x"), all, x);
  fill($("dots-y"), all, y);
  fill($("dots-colour"), [["", "none"], ...all], colour);
  for (const id of ["dots-x", "dots-y", "dots-colour"]) $(id).onchange = drawDots;
}

/* Tables. */

function sortBy(table, place, head) {
  const ascending = head.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const key = (row) => {
    const cell = row.cells[place], number = cell.dataset.v ?? cell.textContent;
    return number === "" || number === "–" || number === "-" ? null : number;
  };
  const compare = (a, b) => {
    const [first, second] = [key(a), key(b)];
    if (first === null || second === null) return (first === null) - (second === null);
    const [one, two] = [Number(first), Number(second)];
    const order = Number.isNaN(one) || Number.isNaN(two) ? first.localeCompare(second, "en", { numeric: true }) : one - two;
    return ascending ? order : -order;
  };
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
}

function makeSortable() {
  for (const table of document.querySelectorAll("table.sorts")) {
    [...table.tHead.rows[0].cells].forEach((head, place) => {
      if (!head.textContent) return;
      head.tabIndex = 0;
      head.onclick = () => sortBy(table, place, head);
      head.onkeydown = (event) => { if (event.key === "Enter") sortBy(table, place, head); };
    });
  }
}

function cell(text, kind = "", number = undefined) {
  const made = document.createElement("td");
  made.className = kind;
  made.textContent = text;
  if (typeof number === "number") made.dataset.v = number;
  return made;
}

function runRow(run, listed) {
  const row = document.createElement("tr"), picture = document.createElement("td"), name = document.createElement("td");
  const link = () => {
    const made = document.createElement("a");
    if (run.link) made.href = run.link;
    return made;
  };
  if (run.picture) {
    const image = new Image();
    Object.assign(image, { src: run.picture, alt: "", width: 128, height: 64 });
    const around = link();
    around.append(image);
    picture.append(around);
  }
  const around = link();
  around.textContent = run.name;
  name.append(around);
  row.append(picture, name, cell(run.state, run.finished ? "state" : "state open"));
  for (const column of listed) {
    const found = value(run, column.name);
    const kind = column.numeric ? "n" : "setting";
    row.append(cell(textOf(found), kind, found));
  }
  return row;
}

function drawRuns() {
  const table = $("runs"), listed = named(["setting", "figure"]), head = document.createElement("tr");
  for (const [text, kind] of [["", ""], ["run", ""], ["state", ""], ...listed.map((column) => [titled(column), column.numeric ? "n" : ""])]) {
    const made = document.createElement("th");
    Object.assign(made, { textContent: text, className: kind });
    head.append(made);
  }
  table.tHead.append(head);
  table.tBodies[0].append(...data.runs.map((run) => runRow(run, listed)));
  $("filter").oninput = () => {
    const wanted = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase(), fits = wanted.every((part) => text.includes(part));
      row.classList.toggle("hidden", !fits);
      count += fits;
    }
    $("shown").textContent = wanted.length ? `${count} of ${data.runs.length}` : "";
  };
}

drawRuns();
makeSortable();
if (data.columns.length) {
  setUpLines();
  setUpDots();
  const draw = () => { drawLines(); drawDots(); };
  draw();
  $("dots").on("plotly_click", (event) => { if (event.points[0].customdata) window.open(event.points[0].customdata); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}
