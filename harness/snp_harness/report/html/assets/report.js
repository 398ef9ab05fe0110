/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The report's timeline and filters. Text is only ever set as text, never as markup. */
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const make = (tag, props = {}, ...children) => {
    const node = Object.assign(document.createElement(tag), props);
    node.append(...children);
    return node;
  };
  const data = JSON.parse($("data").textContent);
  const { kinds, values, categories } = data;
  const count = data.kind.length;
  /* Cells of a kind: category, vCPU's number, then the cells of the table without number and value, then the source. */
  const CATEGORY = 0, VCPU = 1, OP = 2, REGISTER = 3, PC = 4, MODULE = 5, PHASE = 8, SOURCE = 13;
  const kind = (i) => kinds[data.kind[i]];
  /* The first position from which on `below` is false. */
  const firstNot = (below) => {
    let low = 0, high = count;
    while (low < high) { const mid = (low + high) >> 1; if (below(mid)) low = mid + 1; else high = mid; }
    return low;
  };
  const timed = data.time !== null;
  const times = new Float64Array(count);
  for (let i = 0, t = 0; timed && i < count; i++) times[i] = (t += data.time[i]) / 1e6;
  const offence = new Uint8Array(count);
  for (const i of data.offences) offence[i] = 1;

  /* The rows of the table: accesses by their number; phases and events, in their places, by numbers from `count` on. */
  const notes = [];
  for (const [phase, known, evidence, time, index] of data.phases)
    notes.push({ time: time === null ? null : time / 1e6, index, title: phase, text: `${known}: ${evidence}`, phase: true });
  for (const [name, time, vcpu, text] of data.events)
    notes.push({ time: time === null ? null : time / 1e6, index: count, title: name, text: vcpu === null ? text : `vCPU ${vcpu}: ${text}` });
  for (const [name, time, link, level, text] of data.lines)
    notes.push({ time: time / 1e6, index: count, title: name, text, link, level });
  for (const note of notes) {
    if (note.phase || note.time === null || !timed) continue;
    note.index = firstNot((i) => times[i] < note.time);
  }
  notes.sort((a, b) => a.index - b.index || (a.time ?? 0) - (b.time ?? 0));
  const order = new Uint32Array(count + notes.length);
  for (let i = 0, n = 0, at = 0; at < order.length; at++)
    order[at] = n < notes.length && (i === count || notes[n].index <= i) ? count + n++ : i++;

  /* Filters. A kind is looked at once for each text. */
  const wanted = { text: "", phase: "", vcpu: "", lines: true, path: new Set(categories.keys()) };
  let shown = order, visible = new Uint8Array(count).fill(1);
  const refilter = () => {
    const text = wanted.text.toLowerCase();
    const fits = kinds.map((k) => wanted.path.has(k[CATEGORY]) && (!wanted.phase || k[PHASE] === wanted.phase) &&
      (!wanted.vcpu || String(k[VCPU]) === wanted.vcpu) && (!text || k.slice(OP).join(" ").toLowerCase().includes(text) ? 2 : 1));
    const hit = text ? values.map((v) => v.toLowerCase() === text) : null;
    const noted = notes.map((n) => (wanted.lines || !n.link) && (!text || `${n.title} ${n.text}`.toLowerCase().includes(text)));
    let total = 0, rows = 0;
    const next = new Uint32Array(order.length);
    for (const row of order) {
      if (row >= count) { if (noted[row - count]) next[rows++] = row; continue; }
      const fit = fits[data.kind[row]];
      visible[row] = fit === 2 || (fit === 1 && hit !== null && hit[data.value[row]]) ? 1 : 0;
      if (visible[row]) { total++; next[rows++] = row; }
    }
    shown = next.subarray(0, rows);
    $("said").textContent = `${total} of ${count} accesses shown` +
      (data.left ? `; ${data.left} more are in timeline.jsonl` : "") + `; ${data.offences.length} break a rule (\u25c6)`;
    drawTable();
    if (chart) chart.redraw(false);
  };

  /* The table shows the rows in view only. */
  const ROW = 24, HEADINGS = ["#", "time, ms", "op", "register", "value", "pc", "module", "vCPU", "VMPL", "phase", "path", "mode", "outcome", "served by", "source"];
  const log = $("log");
  const body = make("tbody"), above = make("tr"), below = make("tr");
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...HEADINGS.map((h) => make("th", { scope: "col", textContent: h })))), body);
  table.setAttribute("aria-label", "Accesses, phases and events");
  let chosen = -1;
  const stamp = (time) => (time === null || !timed ? "" : time.toFixed(6));
  const line = (row) => {
    if (row >= count) {
      const note = notes[row - count];
      const said = `${note.phase ? "phase " : ""}${note.title}: ${note.text}`;
      const where = note.link ? make("th", { scope: "row" }, make("a", { href: `#${note.link}`, textContent: note.link })) : make("td");
      return make("tr", { className: `note ${note.level ?? ""}` }, where, make("td", { textContent: stamp(note.time) }),
        make("td", { colSpan: HEADINGS.length - 2, textContent: said }));
    }
    const k = kind(row);
    const cells = [stamp(times[row]), k[OP], k[REGISTER], values[data.value[row]], ...k.slice(PC)];
    return make("tr", { className: `${offence[row] ? "offence" : ""} ${row === chosen ? "chosen" : ""}` },
      make("th", { scope: "row" }, make("a", { href: `#a${row}`, textContent: row })), ...cells.map((c) => make("td", { textContent: c })));
  };
  const drawTable = () => {
    const first = Math.max(0, Math.floor(log.scrollTop / ROW) - 10);
    const last = Math.min(shown.length, first + Math.ceil(log.clientHeight / ROW) + 20);
    above.style.height = `${first * ROW}px`;
    below.style.height = `${(shown.length - last) * ROW}px`;
    table.setAttribute("aria-rowcount", shown.length + 1);
    const rows = [];
    for (let at = first; at < last; at++) { const tr = line(shown[at]); tr.setAttribute("aria-rowindex", at + 2); rows.push(tr); }
    body.replaceChildren(above, ...rows, below);
  };
  above.ariaHidden = below.ariaHidden = "true";
  log.addEventListener("scroll", () => requestAnimationFrame(drawTable));
  log.append(table);
  const scrollTo = (row) => {
    const at = shown.indexOf(row);
    if (at >= 0) log.scrollTop = Math.max(0, at * ROW - log.clientHeight / 2);
    drawTable();
  };
  const choose = (row) => {
    if (!(row >= 0 && row < count)) return;
    chosen = row;
    if (!visible[row]) {
      Object.assign(wanted, { text: "", phase: "", vcpu: "", path: new Set(categories.keys()) });
      $("find").value = $("phase").value = $("vcpu").value = "";
      for (const box of $("paths").querySelectorAll("input")) box.checked = true;
      refilter();
    }
    scrollTo(row);
    if (!chart) return;
    const { min, max } = chart.scales.x, x = xs[row];
    if (x < min || x > max) chart.setScale("x", { min: x - (max - min) / 2, max: x + (max - min) / 2 });
    else chart.redraw(false);
  };

  /* The chart: a row for each vCPU and path. uPlot has axes, zoom and cursor; the marks are drawn here, one a pixel. */
  const laneOf = new Map(), lanes = [];
  const laneKey = (k) => `${k[VCPU] ?? "?"} ${k[CATEGORY]}`;
  for (const k of kinds) {
    const key = laneKey(k);
    if (!laneOf.has(key)) { laneOf.set(key, null); lanes.push({ key, vcpu: k[VCPU], category: k[CATEGORY] }); }
  }
  lanes.sort((a, b) => (b.vcpu ?? -1) - (a.vcpu ?? -1) || b.category - a.category);
  lanes.forEach((lane, at) => laneOf.set(lane.key, at));
  const laneOfKind = kinds.map((k) => laneOf.get(laneKey(k)));
  let byOrder = !timed, xs = [], sorted = [], chart = null, colours = {};
  const readColours = () => {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["text", "soft", "line", "bad", "mark", "band"]) colours[name] = style.getPropertyValue(`--${name}`);
    categories.forEach((_, c) => { colours[c] = style.getPropertyValue(`--c${c}`); });
  };
  const setXs = () => {
    xs = byOrder ? Float64Array.from({ length: count }, (_, i) => i) : times;
    sorted = Uint32Array.from({ length: count }, (_, i) => i);
    let rising = true;
    for (let i = 1; i < count && rising; i++) rising = xs[i] >= xs[i - 1];
    if (!rising) sorted.sort((a, b) => xs[a] - xs[b]);
  };
  const startOf = (note) => (byOrder || note.time === null ? note.index : note.time);
  const drawPhases = (u) => {
    const { ctx } = u, { left, top, width, height } = u.bbox;
    ctx.save();
    ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
    const marks = notes.filter((n) => n.phase);
    let labelled = -Infinity;
    marks.forEach((mark, at) => {
      const from = Math.max(left, u.valToPos(startOf(mark), "x", true));
      const to = at + 1 < marks.length ? u.valToPos(startOf(marks[at + 1]), "x", true) : left + width;
      const end = Math.min(left + width, to);
      if (end <= left || from >= left + width) return;
      if (at % 2 === 0) { ctx.fillStyle = colours.band; ctx.fillRect(from, top, end - from, height); }
      ctx.fillStyle = colours.line; ctx.fillRect(from, top, devicePixelRatio, height);
      if (end - from > ctx.measureText(mark.title).width + 8 && from > labelled) {
        ctx.fillStyle = colours.soft; ctx.fillText(mark.title, from + 4, top + 14 * devicePixelRatio);
        labelled = from + ctx.measureText(mark.title).width;
      }
    });
    ctx.restore();
  };
  const drawMarks = (u) => {
    const { ctx } = u, { left, width } = u.bbox, size = Math.max(3, 4 * devicePixelRatio);
    const { min, max } = u.scales.x, ratio = width / (max - min || 1);
    const last = new Float64Array(lanes.length).fill(-1e9);
    const y = lanes.map((_, at) => u.valToPos(at, "y", true));
    const tall = Math.min(16 * devicePixelRatio, (y[0] - (y[1] ?? y[0] - 40)) * 0.7);
    ctx.save();
    ctx.beginPath(); ctx.rect(left, u.bbox.top, width, u.bbox.height); ctx.clip();
    for (const event of notes) {
      if (event.phase) continue;
      const x = left + (startOf(event) - min) * ratio;
      if (x >= left && x <= left + width) { ctx.fillStyle = event.level === "error" ? colours.bad : colours.soft; ctx.fillRect(x, u.bbox.top + u.bbox.height - 8 * devicePixelRatio, devicePixelRatio, 8 * devicePixelRatio); }
    }
    const diamonds = [];
    for (const i of sorted) {
      if (!visible[i] || xs[i] < min || xs[i] > max) continue;
      const lane = laneOfKind[data.kind[i]], x = left + (xs[i] - min) * ratio;
      if (offence[i] || i === chosen) diamonds.push([x, y[lane], i]);
      if (x - last[lane] < 1) continue;
      last[lane] = x;
      ctx.fillStyle = colours[lanes[lane].category];
      ctx.fillRect(x - size / 4, y[lane] - tall / 2, size / 2, tall);
    }
    let done = [-1e9, 0];
    for (const [x, at, i] of diamonds) {
      if (i !== chosen && x - done[0] < 2 && done[1] === at) continue;
      done = [x, at];
      const r = (i === chosen ? 2 : 1.2) * size;
      ctx.beginPath(); ctx.moveTo(x, at - r); ctx.lineTo(x + r, at); ctx.lineTo(x, at + r); ctx.lineTo(x - r, at); ctx.closePath();
      ctx.fillStyle = i === chosen ? colours.mark : colours.bad; ctx.fill();
      ctx.strokeStyle = colours.text; if (i === chosen) ctx.stroke();
    }
    ctx.restore();
  };
  const nearest = (u, x, y) => {
    let best = -1, least = 400;
    const near = u.posToVal(x, "x"), reach = u.posToVal(x + 12, "x") - near;
    for (let at = firstNot((i) => xs[sorted[i]] < near - reach), tried = 0; at < count && xs[sorted[at]] <= near + reach && tried < 20000; at++, tried++) {
      const i = sorted[at];
      if (!visible[i]) continue;
      const dx = u.valToPos(xs[i], "x") - x, dy = u.valToPos(laneOfKind[data.kind[i]], "y") - y, far = dx * dx + dy * dy;
      if (far < least) { least = far; best = i; }
    }
    return best;
  };
  const tip = $("tip");
  const hover = (u) => {
    const { left, top } = u.cursor;
    const i = left >= 0 ? nearest(u, left, top) : -1;
    tip.hidden = i < 0;
    if (i < 0) return;
    const k = kind(i);
    tip.textContent = [`${i}${timed ? `, ${stamp(times[i])} ms` : ""}: ${k[OP]} ${k[REGISTER]} = ${values[data.value[i]]}`,
      `${k[MODULE]}, pc ${k[PC]}${k[SOURCE] ? `\n${k[SOURCE]}` : ""}`, k.slice(MODULE + 1, SOURCE).map((c, at) => `${HEADINGS[MODULE + 2 + at]} ${c}`).join(", ")].join("\n");
    const box = u.over.getBoundingClientRect();
    tip.style.left = `${Math.min(box.left + left + 14, innerWidth - tip.offsetWidth - 8) + scrollX}px`;
    tip.style.top = `${box.top + top + 18 + scrollY}px`;
  };
  const build = () => {
    readColours();
    setXs();
    const name = (lane) => `vCPU ${lane.vcpu ?? "?"}  ${categories[lane.category]}`;
    const font = "12px system-ui, sans-serif", axis = { stroke: () => colours.text, font, grid: { stroke: () => colours.line, width: 1 }, ticks: { stroke: () => colours.line } };
    const holder = $("chart");
    const pad = (low, high) => { const room = (high - low || 1) * 0.02; return [low - room, high + room]; };
    chart?.destroy();
    chart = new uPlot({
      width: Math.max(600, holder.clientWidth - 2), height: Math.min(900, 90 + 26 * Math.max(3, lanes.length)),
      legend: { show: false }, cursor: { drag: { x: true, y: false }, points: { show: false } },
      scales: { x: { time: false, range: (u, low, high) => (low === null ? [0, 1] : u.snpZoomed ? [low, high] : pad(low, high)) }, y: { range: [-0.9, lanes.length + 0.1] } },
      series: [{}, { paths: () => null, points: { show: false } }],
      axes: [{ ...axis, label: byOrder ? "accesses in their order" : "ms since the witness's start", labelFont: font }, { ...axis, size: 215, splits: () => lanes.map((_, at) => at), values: () => lanes.map(name) }],
      hooks: { drawClear: [drawPhases], draw: [drawMarks], setCursor: [hover], setSelect: [(u) => { u.snpZoomed = true; }] },
    }, [Float64Array.from(sorted, (i) => xs[i]), new Float64Array(count)], holder);
    chart.over.addEventListener("click", () => { const i = nearest(chart, chart.cursor.left, chart.cursor.top); if (i >= 0) location.hash = `a${i}`; });
    chart.over.addEventListener("dblclick", () => zoom("all"));
    chart.over.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.shiftKey) return;
      event.preventDefault();
      zoom(event.deltaY < 0 ? "in" : "out", chart.posToVal(event.offsetX, "x"));
    }, { passive: false });
  };
  const zoom = (action, at) => {
    if (!chart) return;
    const { min, max } = chart.scales.x, width = max - min, middle = at ?? (min + max) / 2;
    chart.snpZoomed = action !== "all";
    const set = (low, high) => chart.setScale("x", { min: low, max: high });
    if (action === "in") set(middle - (middle - min) / 2, middle + (max - middle) / 2);
    else if (action === "out") set(middle - (middle - min) * 2, middle + (max - middle) * 2);
    else if (action === "left") set(min - width / 4, max - width / 4);
    else if (action === "right") set(min + width / 4, max + width / 4);
    else if (action === "all") set(count ? xs[sorted[0]] : 0, count ? xs[sorted[count - 1]] : 1);
    else if (action === "order" && timed) { byOrder = !byOrder; document.querySelector('[data-do="order"]').setAttribute("aria-pressed", byOrder); build(); }
  };
  const KEYS = { "+": "in", "=": "in", "-": "out", ArrowLeft: "left", ArrowRight: "right", 0: "all", o: "order" };

  for (const box of categories.keys()) {
    if (!kinds.some((k) => k[CATEGORY] === box)) continue;
    const input = make("input", { type: "checkbox", checked: true });
    input.addEventListener("change", () => { wanted.path[input.checked ? "add" : "delete"](box); refilter(); });
    $("paths").append(make("label", {}, input, make("span", { className: `swatch k${box}` }), categories[box]));
  }
  for (const [id, at] of [["phase", PHASE], ["vcpu", VCPU]]) {
    for (const value of [...new Set(kinds.map((k) => k[at]))].filter((v) => v !== null).sort((a, b) => (at === VCPU ? a - b : 0)))
      $(id).append(make("option", { value, textContent: value }));
    $(id).addEventListener("change", () => { wanted[id] = $(id).value; refilter(); });
  }
  if (data.lines.length) {
    $("lines").hidden = false;
    $("lines").firstChild.addEventListener("change", (event) => { wanted.lines = event.target.checked; refilter(); });
  }
  $("find").addEventListener("input", () => { wanted.text = $("find").value; refilter(); });
  for (const button of document.querySelectorAll("#tools [data-do]")) button.addEventListener("click", () => zoom(button.dataset.do));
  $("chart").addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || !(event.key in KEYS)) return;
    event.preventDefault();
    zoom(KEYS[event.key]);
  });
  for (const part of document.querySelectorAll("section .find")) {
    const name = part.querySelector("input").dataset.console, lines = [...$(name).querySelectorAll("li")];
    const filter = () => {
      const text = part.querySelector("input").value.toLowerCase(), level = part.querySelector("select").value;
      let found = 0;
      for (const li of lines) {
        const fits = (!text || li.lastChild.textContent.toLowerCase().includes(text)) && (!level || li.className === level || (level === "warning" && li.className === "error"));
        li.hidden = !fits;
        found += fits;
      }
      part.querySelector("[role=status]").textContent = `${found} of ${lines.length} lines`;
    };
    part.hidden = false;
    part.addEventListener("input", filter);
  }
  const follow = () => {
    const match = /^#a(\d+)$/.exec(location.hash), part = $(location.hash.slice(1));
    if (match) { choose(Number(match[1])); if (!count) return; $("timeline").scrollIntoView(); }
    else if (part instanceof HTMLDetailsElement) part.open = true;
  };
  addEventListener("hashchange", follow);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); chart?.redraw(); });
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; build(); } });

  $("tools").hidden = false;
  if (!timed) document.querySelector('[data-do="order"]').hidden = true;
  if (count) build(); else $("chart").hidden = true;
  refilter();
  follow();
  requestAnimationFrame(() => { document.documentElement.dataset.ready = Math.round(performance.now()); });
})();
