// view.js draws the left side: the program unrolled, the shares of each weight under it, the source and the call stack.
// It gives
//
//   mountView(app)           makes it; returns {paint(), reveal(), scale(), mark(records), fold(all)}
//   nameHTML(tape, ref)      how an input or a target is called: its variable with the time, as a button that goes there
//   nameText(tape, ref)      the same as text
//   shortName(tape, ref)     the same without a button: [name, index], the index being the time
//   fileName(tape, file)     how a file is called: without its folder, and "cell" in a notebook
//
// Rows are the operations of a loop's body, columns its times.  Only what is in sight has elements, which stay: a step
// changes the classes of those cells that it is about.

const STRIP = 34, HEAD = 26, LABEL = 208, TIMES = 15, LEVELS = 10, DECADES = 16;
const NORMAL = {float16: 2 ** -14, float32: 2 ** -126, complex64: 2 ** -126};

const timeOf = record => record.column ?? null;
const variableOf = (record, output = 0) => record.variables[output] ?? null;

function nameParts(tape, ref) {
  if (!ref) return ["constant", null, ""];
  if (ref.kind === "leaf") return [tape.leaves[ref.number].name, null, ""];
  if (ref.kind === "earlier") return [`${tape.earlier[ref.number][0]}`, null, "earlier"];
  const record = tape.records[ref.number], several = Array.isArray(record.value);
  const number = `%${ref.number}${several && ref.output !== undefined ? `.${ref.output}` : ""}`;
  const name = variableOf(record, ref.output) ?? (several ? null : labelOf(tape, ref.number));
  return name ? [name, timeOf(record), number] : [number, timeOf(record), ""];
}

// what the row of a record without a name is called, such as W @ h
function labelOf(tape, number) {
  if (!tape.labels) {
    tape.labels = [];
    for (const {rows, cells} of tape.layout.bands) {
      rows.forEach(({label}, row) => {
        const text = label.replace(/^\w+ = /, "");
        if (text.length <= 20 && /\w/.test(text)) for (const record of cells[row]) if (record >= 0) tape.labels[record] = text;
      });
    }
  }
  return tape.labels[number];
}

function shortName(tape, ref) {
  const [name, time] = nameParts(tape, ref);
  return time === null || name[0] === "%" ? [name, ""] : [name.includes(" ") ? `(${name.replaceAll(" ", "\u00a0")})` : name, time];
}

function nameText(tape, ref) {
  const [name, time, number] = nameParts(tape, ref);
  return `${name}${time === null ? "" : ` (t=${time})`}${number ? ` ${number}` : ""}`;
}

function nameHTML(tape, ref) {
  const [, time, number] = nameParts(tape, ref), [name, index] = shortName(tape, ref);
  if (!ref) return '<span class="dim">constant</span>';
  const said = number || time === null ? number : `t=${time}`;
  const text = `<b>${escaped(name)}</b>${index === "" ? "" : `<sub>${index}</sub>`}${said ? ` <small>${said}</small>` : ""}`;
  if (ref.kind === "earlier") return text;
  return `<button class="ref${ref.kind === "leaf" ? " leaf" : ""}" data-ref="${ref.kind[0]}${ref.number}">${text}</button>`;
}

function fileName(tape, file) {
  const isCell = name => /ipykernel_\d+[\\/][^\\/]+$/.test(name), cells = tape.lines.cells ??= [...new Set(tape.lines.map(line => line.file))].filter(isCell);
  if (!isCell(file)) return file.split(/[\\/]/).pop();
  return cells.length > 1 ? `cell ${cells.indexOf(file) + 1}` : "cell";
}

const sizeOf = array => !array ? null : Array.isArray(array) ?
  array.reduce((sum, each) => each ? Math.hypot(sum, each.norm ?? NaN) : sum, 0) : array.norm;

// on a scale of logarithms from 0 to LEVELS - 1
class Scale {
  constructor(sizes) {
    let low = Infinity, high = -Infinity;
    for (const size of sizes) {
      if (size > 0 && size < Infinity) {
        if (size < low) low = size;
        if (size > high) high = size;
      }
    }
    this.high = high === -Infinity ? 0 : Math.log10(high);
    this.low = high === -Infinity ? 0 : Math.max(Math.log10(low), this.high - DECADES);
  }

  level(size, dtype) {
    if (size === null) return "k";
    if (size !== size || size === Infinity) return "x";
    if (size === 0) return "z";
    if (size < (NORMAL[dtype] ?? 2 ** -1022)) return "u";
    const span = this.high - this.low, part = span > 1e-9 ? (Math.log10(size) - this.low) / span : 1;
    return Math.max(0, Math.min(LEVELS - 1, Math.floor(part * LEVELS)));
  }
}

// where each record stands, and how large a band is
class Bands {
  constructor(tape) {
    const count = tape.records.length;
    this.tape = tape;
    this.band = new Int32Array(count).fill(-1);
    this.row = new Int32Array(count);
    this.column = new Int32Array(count);
    this.all = tape.layout.bands.map((band, number) => ({...band, number, folded: false, strips: [],
      columns: band.cells.length ? band.cells[0].length : 0}));
    for (const band of this.all) {
      band.depth = band.parent === null ? 0 : this.all[band.parent].depth + 1;
      band.first = Infinity;
      band.last = -1;
      band.cells.forEach((cells, row) => cells.forEach((record, column) => {
        if (record < 0) return;
        this.band[record] = band.number;
        this.row[record] = row;
        this.column[record] = column;
        band.first = Math.min(band.first, record);
        band.last = Math.max(band.last, record);
      }));
    }
  }

  // strips: for each leaf that a loop uses its shares there
  share(grads) {
    for (const band of this.all) band.strips = [];
    for (const grad of grads.values()) {
      const found = new Map();
      let largest = 0;
      grad.shares.forEach((share, k) => {
        const size = sizeOf(this.tape.array(share.value));
        if (size > largest && size < Infinity) largest = size;
        if (share.record === null) return;
        const number = this.band[share.record];
        if (number < 0 || this.all[number].columns < 2) return;
        const strip = found.get(number) ?? found.set(number, []).get(number);
        strip.push({k, share, size, column: this.column[share.record]});
      });
      for (const [number, bars] of found) this.all[number].strips.push({grad, bars, largest});
    }
  }

  place(width, height) {
    let top = 0, rows = 0, rest = 0;
    this.width = 0;
    for (const band of this.all) {
      rows += band.folded ? 0 : band.cells.length;
      rest += HEAD + 10 + (band.folded ? 0 : TIMES + band.strips.length * STRIP);
    }
    this.row_ = Math.max(20, Math.min(30, Math.floor((height - rest - 16) / (rows || 1))));  // taller, where there is room
    for (const band of this.all) {
      const hidden = band.parent !== null && (this.all[band.parent].folded || this.all[band.parent].hidden);
      band.hidden = hidden;
      band.top = top;
      band.indent = band.depth * 14;
      const room = width - LABEL - band.indent - 34;
      band.cell = band.columns < 2 ? 26 : Math.max(5, Math.min(36, Math.floor(room / band.columns)));
      band.times_ = band.columns > 1 ? TIMES : 0;
      band.body = band.folded ? 0 : band.cells.length * this.row_ + band.times_ + band.strips.length * STRIP;
      band.height = hidden ? 0 : HEAD + band.body + 10;
      band.right = band.indent + LABEL + band.cell * band.columns;
      this.width = Math.max(this.width, hidden ? 0 : band.right + 14);
      top += band.height;
    }
    this.height = top;
  }

  // the middle of a cell
  point(record) {
    const band = this.all[this.band[record]];
    if (!band || band.hidden) return null;
    if (band.folded) return [band.indent + LABEL - 8, band.top + HEAD / 2];
    return [band.indent + LABEL + (this.column[record] + 0.5) * band.cell,
      band.top + HEAD + band.times_ + (this.row[record] + 0.5) * this.row_];
  }
}

const KEYWORDS = /(#.*)|("""|'''|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|\b(and|as|assert|async|await|break|class|continue|def|del|elif|else|except|False|finally|for|from|if|import|in|is|lambda|None|nonlocal|not|or|pass|raise|return|True|try|while|with|yield)\b|\b(\d[\d_.e]*)\b/g;

function colouredSource(line) {
  let out = "", from = 0;
  for (const found of line.matchAll(KEYWORDS)) {
    const kind = found[1] ? "com" : found[2] ? "str" : found[3] ? "kw" : "num";
    out += `${escaped(line.slice(from, found.index))}<i class="${kind}">${escaped(found[0])}</i>`;
    from = found.index + found[0].length;
  }
  return out + escaped(line.slice(from));
}

function mountView(app) {
  const grid = document.getElementById("grid"), canvas = document.getElementById("canvas");
  const source = document.getElementById("source"), stack = document.getElementById("stack");
  const tip = document.getElementById("tip"), legend = document.getElementById("legend");
  let tape, bands, path, scale, forward, cells, bars, painted, marked = new Set(), logarithmic = false;
  let shown, now = -1, cursor = -1, sizes;
  // where the grid is scrolled to, and its size: to ask it would have the browser lay out the page
  const port = {top: 0, left: 0, width: 0, height: 0};
  function look() {
    Object.assign(port, {top: grid.scrollTop, left: grid.scrollLeft, width: grid.clientWidth, height: grid.clientHeight});
  }

  // what depends on the tape and the sweep
  function reset() {
    if (tape !== app.tape) {
      const before = tape?.layout === app.tape.layout ? bands : null; // the same tape with other numbers
      tape = app.tape;
      bands = new Bands(tape);
      before?.all.forEach((band, k) => { bands.all[k].folded = band.folded; });
      forward = new Scale(tape.records.map(record => sizeOf(tape.array(record.value))));
      if (!before) {
        shown = null;
        drawFiles();
      }
    }
    path = app.sweep && pathOf(app.sweep);
    sizes = new Map();
    scale = new Scale(path ? app.sweep.steps.map(step => sizeOf(tape.array(step.cotangent))) : []);
    bands.share(path ? path.grads : new Map());
    now = -1;
    layout();
  }

  function layout() {
    look();
    bands.place(port.width, port.height);
    canvas.style.height = `${bands.height}px`;
    canvas.style.setProperty("--h", `${bands.row_ - 1}px`);
    canvas.style.width = `${bands.width}px`;
    cells = new Map();
    bars = new Map();
    canvas.innerHTML = '<div id="edges"><svg aria-hidden="true"></svg></div>' + bands.all.filter(band => !band.hidden).map(bandHTML).join("");
    for (const band of bands.all) band.sight = null;
    sight();
    drawLegend();
  }

  function bandHTML(band) {
    const count = band.cells.reduce((sum, row) => sum + row.filter(record => record >= 0).length, 0);
    const what = band.kind === "loop" ? `${band.columns} time steps × ${band.cells.length} operations` :
      `${count} operation${count === 1 ? "" : "s"}`;
    return `<section class="band ${band.kind}" style="top:${band.top}px;height:${band.height - 10}px;left:${band.indent}px;width:${band.right - band.indent + 8}px">` +
      `<h2 style="height:${HEAD}px"><button class="fold" data-band="${band.number}" aria-expanded="${!band.folded}">` +
      `<svg viewBox="0 0 10 10" aria-hidden="true"><path d="M2 3l3 4 3-4"/></svg>${escaped(band.title || (band.kind === "loop" ? "loop" : "operations"))}</button> <span class="dim">${what}</span></h2>` +
      `<div class="labels" style="width:${LABEL}px" id="labels${band.number}"></div>` +
      `<div class="cells" style="left:${LABEL}px;top:${HEAD}px;--w:${band.cell - 1}px" id="cells${band.number}"></div></section>`;
  }

  // make elements for what is in sight
  function sight() {
    const {top, left, height, width} = port;
    for (const band of bands.all) {
      if (band.hidden || band.folded) continue;
      const y = band.top + HEAD + band.times_, x = band.indent + LABEL;
      const rows = [Math.max(0, Math.floor((top - y) / bands.row_) - 8), Math.min(band.cells.length, Math.ceil((top + height - y) / bands.row_) + 8)];
      const columns = [Math.max(0, Math.floor((left - x) / band.cell) - 24), Math.min(band.columns, Math.ceil((left + width - x) / band.cell) + 24)];
      const strips = band.strips.length && top + height + 200 > y + band.cells.length * bands.row_ && top - 200 < band.top + band.height;
      const range = [...rows, ...columns, strips].join();
      if (band.sight === range) continue;
      const old = band.sight && band.sight.split(",").map(Number);
      // what is there may be more than is wanted: it stays, as long as it is not much more
      if (old && old[0] <= rows[0] && old[1] >= rows[1] && old[2] <= columns[0] && old[3] >= columns[1] && (!strips || band.withStrips)) continue;
      band.sight = range;
      band.withStrips = strips;
      fill(band, rows, columns, strips);
    }
  }

  function fill(band, [top, bottom], [left, right], strips) {
    const labels = [], text = [];
    if (bottom > top) {
      const every = Math.max(1, Math.ceil(26 / band.cell));
      if (band.times_) {
        labels.push(`<div class="label" style="top:0;height:${TIMES}px"></div>`);
        for (let c = left; c < right; c++) {
          if (c % every === 0 && band.times[c] !== undefined) {
            text.push(`<span class="time" style="left:${(c + 0.5) * band.cell}px">${band.times[c]}</span>`);
          }
        }
      }
    }
    for (let r = top; r < bottom; r++) {
      const row = band.rows[r], y = band.times_ + r * bands.row_;
      labels.push(`<div class="label${app.broken?.(row, band, r) ? " stop" : ""}" style="top:${y}px" data-row="${band.number}.${r}" title="${escaped(row.label)}"><span>${escaped(row.label)}</span></div>`);
      text.push(`<div class="row" style="left:${left * band.cell}px;top:${y}px">`);
      for (let c = left; c < right; c++) {
        const record = band.cells[r][c];
        text.push(record >= 0 ? `<i id="c${record}" class="${classOf(record)}" data-record="${record}"></i>` : "<i></i>");
      }
      text.push("</div>");
    }
    if (strips) {
      band.strips.forEach((strip, s) => {
        const y = band.times_ + band.cells.length * bands.row_ + s * STRIP, {leaf, shares} = strip.grad;
        labels.push(`<div class="label leaf" style="top:${y}px;height:${STRIP}px"><button class="ref leaf" data-ref="l${leaf.number}"><b>${escaped(leaf.name)}</b></button>` +
          `<small>${shapeText(leaf)}, used ${shares.length === strip.bars.length ? `${shares.length}×` : `${strip.bars.length}× here, ${shares.length}× in all`}</small></div>`);
        text.push(`<div class="strip" style="top:${y + 3}px;width:${band.columns * band.cell}px">`);
        for (const bar of strip.bars) {
          if (bar.column < left || bar.column >= right) continue;
          text.push(`<i class="${barClass(strip, bar)}" data-share="${leaf.number}.${bar.k}" style="left:${bar.column * band.cell}px;height:${barHeight(strip, bar)}px"></i>`);
        }
        text.push("</div>");
      });
    }
    document.getElementById(`labels${band.number}`).innerHTML = labels.join("");
    document.getElementById(`cells${band.number}`).innerHTML = text.join("");
    for (const [map, name] of [[cells, "c"], [bars, "s"]]) {
      for (const [key, element] of map) if (!element.isConnected) map.delete(key);
    }
    for (const element of document.getElementById(`cells${band.number}`).querySelectorAll("[data-record]")) {
      cells.set(Number(element.dataset.record), element);
    }
    for (const element of document.getElementById(`cells${band.number}`).querySelectorAll("[data-share]")) {
      bars.set(element.dataset.share, element);
    }
  }

  function barHeight({largest}, {size}) {
    const room = STRIP - 6;
    if (!(size > 0)) return 2;
    if (size === Infinity || !largest) return room;
    const part = logarithmic ? 1 + Math.log10(size / largest) / 8 : size / largest;
    return Math.max(1, Math.round(room * Math.max(0, Math.min(1, part))));
  }

  function barClass(strip, {share, size, k}) {
    const done = app.mode === "backward" && share.step >= 0 && share.step < app.at;
    const grade = !(size > 0) ? " z" : size === strip.largest ? " top" : strip.grad.silent?.[k] ? " r" : "";
    return `b${done ? " on" : ""}${grade}${done && share.step === app.at - 1 ? " now" : ""}`;
  }

  function sizeAt(record) {
    const step = path ? path.visits[record] : -1;
    if (step < 0) return null;
    if (!sizes.has(record)) sizes.set(record, sizeOf(tape.array(app.sweep.steps[step].cotangent)));
    return sizes.get(record);
  }

  function classOf(record) {
    const plain = tape.records[record], mark = (marked.has(record) ? " m" : "") + (record === now ? " now" : "") + (record === cursor ? " cur" : "");
    if (app.mode === "forward") {
      return `c${record < app.at ? ` v v${forward.level(sizeOf(tape.array(plain.value)), plain.dtype)}` : ""}${mark}`;
    }
    const step = path ? path.visits[record] : -1;
    if (step < 0) return `c out${mark}`;
    if (step < app.at) return `c g g${scale.level(sizeAt(record), plain.dtype)}${mark}`;
    return `c${waits(record) ? " w" : ""}${mark}`;
  }

  function waits(record) {
    if (!path) return false;
    if (!Array.isArray(tape.records[record].value)) return path.waiting.has(`r${record}`);
    return tape.records[record].value.some((_, k) => path.waiting.has(`r${record}.${k}`));
  }

  function repaint(record) {
    const element = cells.get(record);
    if (!element) return;
    const wanted = classOf(record);
    if (element.className !== wanted) element.className = wanted;
  }

  // bring the classes to where the app is, by what lies between
  function paint() {
    const key = app.mode;
    if (tape !== app.tape || painted?.sweep !== app.sweep) {
      painted = {sweep: app.sweep};
      if (path || app.sweep) pathOf(app.sweep).move(app.mode === "backward" ? app.at : 0);
      reset();
    }
    if (path) path.move(app.mode === "backward" ? app.at : 0);
    const before = now;
    now = app.record ? app.record.number : -1;
    if (painted.mode !== key) {
      painted.mode = key;
      for (const record of cells.keys()) repaint(record);
      paintBars();
      drawLegend();
    } else {
      const [from, to] = [Math.min(painted.at, app.at), Math.max(painted.at, app.at)];
      if (key === "forward") for (let record = from; record < to; record++) repaint(record);
      else if (path) {
        for (let k = from; k < to; k++) {
          const step = app.sweep.steps[k];
          if (step.target.kind === "record") repaint(step.target.number);
          for (const c of step.contributions) if (c.target.kind === "record") repaint(c.target.number);
        }
      }
      paintBars(Math.max(0, from - 1), to);
    }
    painted.at = app.at;
    if (before !== now) {
      repaint(before);
      repaint(now);
    }
    drawEdges();
    drawSource();
  }

  function paintBars(from = -1, to = Infinity) {
    for (const band of bands.all) {
      for (const strip of band.strips) {
        for (const bar of strip.bars) {
          if (bar.share.step < from || bar.share.step > to) continue;
          const element = bars.get(`${strip.grad.leaf.number}.${bar.k}`);
          if (!element) continue;
          const wanted = barClass(strip, bar);
          if (element.className !== wanted) element.className = wanted;
        }
      }
    }
  }

  // arrows of the record that the app is at: to its arguments, and from those that used it
  function drawEdges() {
    const box = document.getElementById("edges"), svg = box.firstChild, record = app.record;
    const from = record && bands.point(record.number);
    if (!from) {
      svg.innerHTML = "";
      return;
    }
    const lines = [], back = app.mode === "backward";
    const add = (number, kind) => {
      const to = bands.point(number);
      if (to && to !== from && Math.abs(to[1] - from[1]) < 4000) lines.push([to, kind]);
    };
    for (const input of record.inputs) if (input?.kind === "record") add(input.number, back ? "out" : "in");
    if (back && path) {
      for (let k = 0; k < Math.max(1, Array.isArray(record.value) ? record.value.length : 1); k++) {
        const entry = path.entries.get(keyOf({kind: "record", number: record.number, output: k}, tape));
        for (const step of (entry?.steps ?? []).slice(0, 24)) {
          const {target} = app.sweep.steps[step];
          if (target.kind === "record") add(target.number, "came");
        }
      }
    }
    let [x0, y0, x1, y1] = [from[0], from[1], from[0], from[1]];
    for (const [[x, y]] of lines) {
      x0 = Math.min(x0, x); x1 = Math.max(x1, x);
      y0 = Math.min(y0, y); y1 = Math.max(y1, y);
    }
    x0 -= 40; y0 -= 40; x1 += 40; y1 += 40;
    box.style.cssText = `transform:translate(${x0}px,${y0}px);width:${x1 - x0}px;height:${y1 - y0}px`;
    svg.innerHTML = '<defs><marker id="tip1" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>' +
      lines.map(([[x, y], kind]) => {
        const [ax, ay, bx, by] = kind === "out" ? [...from, x, y] : [x, y, ...from];
        const dx = bx - ax, dy = by - ay, bend = Math.min(34, 8 + Math.hypot(dx, dy) / 5);
        const side = Math.abs(dx) > Math.abs(dy) ? [0, -bend] : [bend, 0];
        return `<path class="${kind}" marker-end="url(#tip1)" d="M${ax - x0} ${ay - y0}Q${(ax + bx) / 2 + side[0] - x0} ${(ay + by) / 2 + side[1] - y0} ${bx - x0} ${by - y0}"/>`;
      }).join("");
  }

  // scroll so that the record is in sight
  function reveal(record = now) {
    const point = record >= 0 && bands.point(record);
    if (!point) return;
    const [x, y] = point, margin = 40;
    const {top, left, height, width} = port;
    const down = y < top + margin || y > top + height - margin, aside = x < left + LABEL + margin || x > left + width - margin;
    if (!down && !aside) return;
    if (down) grid.scrollTop = y - height / 2;
    if (aside) grid.scrollLeft = x - LABEL - (width - LABEL) / 2;
    look();
    sight();
  }

  function drawLegend() {
    const back = app.mode === "backward", {low, high} = back ? scale : forward, letter = back ? "g" : "v";
    const steps = Array.from({length: LEVELS}, (_, k) => `<i class="c ${letter} ${letter}${k}"></i>`).join("");
    const power = x => `10<sup>${Math.round(x)}</sup>`;
    legend.innerHTML = `<span>size of the ${back ? "cotangent" : "value"}: ${power(low)} <span class="ramp">${steps}</span> ${power(high)}</span>` +
      `<span><i class="c ${letter} ${letter}z"></i> exactly 0</span><span><i class="c ${letter} ${letter}u"></i> below the smallest normal number</span>` +
      (back ? `<span><i class="c w"></i> waits</span><span class="bars"><i class="b on"></i> share of a weight’s gradient</span>` +
        `<button class="mini" id="log" aria-pressed="${logarithmic}">log scale of shares</button>` : "");
  }

  // source -----------------------------------------------------------------------------------------------------------

  let lit = null, file = null;

  function drawFiles() {
    file = null;
    source.innerHTML = "";
    lit = null;
  }

  function drawFile(name) {
    file = name;
    const pieces = app.tape.sources[name] ?? [], wrong = app.failure?.line;
    source.innerHTML = pieces.map(([first, lines]) => lines.map((line, k) => {
      const number = first + k, bad = wrong && wrong.file === name && wrong.number === number;
      return `<div class="ln${bad ? " bad" : ""}" id="L${number}" data-line="${number}"><span class="no">${number}</span><code>${colouredSource(line)}</code></div>` +
        (bad ? `<div class="said">${escaped(app.failure.text)}</div>` : "");
    }).join("")).join('<div class="gap">⋯</div>') || '<p class="dim">The text of this file could not be read.</p>';
    document.getElementById("file").textContent = name ? fileName(app.tape, name) : "";
    document.getElementById("file").title = name ?? "";
  }

  function light(line) {
    if (line.file !== file) drawFile(line.file);
    const before = lit;
    lit?.classList.remove("now");
    lit = document.getElementById(`L${line.number}`);
    if (!lit) return;
    lit.classList.add("now");
    if (lit === before) return;
    const top = lit.offsetTop, {scrollTop, clientHeight} = source;
    if (top < scrollTop + 20 || top > scrollTop + clientHeight - 40) source.scrollTop = top - clientHeight / 2;
  }

  function drawSource() {
    const record = app.record, wrong = app.failure?.line;
    if (record && record.line !== null) light(app.tape.lines[record.line]);
    else if (wrong && !file) light(wrong);
    else if (!file && app.tape.lines.length) drawFile(app.tape.lines[0].file);
    else lit?.classList.remove("now");
    const frames = record ? record.stack : [];
    stack.innerHTML = frames.map((number, k) => {
      const line = app.tape.lines[number];
      return `<li><button class="frame" data-frame="${number}"${k ? "" : ' aria-current="true"'}><b>${escaped(line.function)}</b> <span class="dim">${escaped(fileName(app.tape, line.file))}:${line.number}</span></button></li>`;
    }).join("") || '<li class="dim">no record, no line</li>';
  }

  // events -----------------------------------------------------------------------------------------------------------

  function describe(record) {
    const plain = tape.records[record], step = path ? path.visits[record] : -1, size = sizeAt(record);
    const lines = [`<b>${escaped(nameText(tape, {kind: "record", number: record, output: 0}))}</b> = ${escaped(plain.name)}`,
      `value: ${shapeText(plain)}, norm ${brief(sizeOf(tape.array(plain.value)) ?? NaN)}`];
    if (app.sweep && !app.hides) lines.push(step < 0 ? "the sweep does not come here" : app.mode === "backward" && step < app.at ? `step ${step + 1}: cotangent of norm ${size === null ? "unknown" : brief(size)}` : `visited in step ${step + 1}`);
    return lines.join("<br>");
  }

  function describeShare(key) {
    const [leaf, k] = key.split(".").map(Number), grad = path.grads.get(leaf), share = grad.shares[k];
    const from = share.record === null ? "an earlier record" : nameText(tape, {kind: "record", number: share.record});
    return `<b>${escaped(grad.leaf.name)}</b>: share of the use in ${escaped(from)}<br>` +
      (share.step < app.at && app.mode === "backward" ? `norm ${brief(sizeOf(tape.array(share.value)) ?? NaN)}` : `arrives in step ${share.step + 1}`);
  }

  function hover(event) {
    const {record, share} = event.target.dataset ?? {};
    if (record === undefined && share === undefined) {
      tip.hidden = true;
      return;
    }
    tip.innerHTML = record !== undefined ? describe(Number(record)) : describeShare(share);
    tip.hidden = false;
    const box = event.target.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(innerWidth - tip.offsetWidth - 8, box.left))}px`;
    tip.style.top = `${box.bottom + 6 + tip.offsetHeight > innerHeight ? box.top - tip.offsetHeight - 6 : box.bottom + 6}px`;
  }

  grid.addEventListener("mouseover", hover);
  grid.addEventListener("mouseleave", () => { tip.hidden = true; });
  grid.addEventListener("mousedown", event => { if (event.target.dataset?.record) event.preventDefault(); });
  grid.addEventListener("scroll", () => {
    look();
    sight();
  }, {passive: true});
  grid.addEventListener("click", event => {
    const {record, share} = event.target.dataset ?? {};
    const fold = event.target.closest?.("[data-band]"), row = event.target.closest?.("[data-row]");
    if (record !== undefined) app.pick(Number(record));
    else if (share !== undefined) {
      const [leaf, k] = share.split(".").map(Number), found = path.grads.get(leaf).shares[k];
      if (found.record !== null) app.pick(found.record);
    } else if (fold) {
      const band = bands.all[Number(fold.dataset.band)];
      band.folded = !band.folded;
      refold();
      grid.querySelector(`[data-band="${band.number}"]`)?.focus();
    } else if (row) {
      const [band, r] = row.dataset.row.split(".").map(Number);
      app.toggleRow(bands.all[band], r);
    }
  });
  // a cursor for the keyboard, when the grid has the focus
  grid.addEventListener("keydown", event => {
    if (event.target !== grid || event.ctrlKey || event.metaKey || event.altKey) return;
    const move = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[event.key];
    if (event.key === "Enter" && cursor >= 0) app.pick(cursor);
    else if (move) moveCursor(...move);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  grid.addEventListener("blur", () => setCursor(-1));

  function setCursor(record) {
    const before = cursor;
    cursor = record;
    repaint(before);
    repaint(cursor);
    if (cursor < 0) {
      grid.removeAttribute("aria-activedescendant");
      return;
    }
    reveal(cursor);
    grid.setAttribute("aria-activedescendant", `c${cursor}`);
    app.say(describe(cursor).replace(/<[^>]*>/g, " "));
  }

  function moveCursor(down, right) {
    if (cursor < 0) {
      setCursor(now >= 0 ? now : 0);
      return;
    }
    let number = bands.band[cursor], row = bands.row[cursor] + down, column = bands.column[cursor] + right;
    let band = bands.all[number];
    while (band && (row < 0 || row >= band.cells.length || band.hidden || band.folded)) {
      band = bands.all[number += down];
      if (!band) return;
      if (!band.hidden && !band.folded) row = down > 0 ? 0 : band.cells.length - 1;
      else row = -1;
    }
    column = Math.min(column, band.columns - 1);
    while (column >= 0 && column < band.columns && band.cells[row][column] < 0) column += right || 1;
    const found = band.cells[row]?.[column];
    if (found >= 0) setCursor(found);
  }

  function refold() {
    layout();
    drawEdges();
  }

  legend.addEventListener("click", event => {
    if (event.target.id !== "log") return;
    logarithmic = !logarithmic;
    layout();
    drawEdges();
    document.getElementById("log").focus();
  });
  stack.addEventListener("click", event => {
    const frame = event.target.closest("[data-frame]");
    if (frame) light(app.tape.lines[Number(frame.dataset.frame)]);
  });
  source.addEventListener("click", event => {
    const line = event.target.closest("[data-line]");
    if (line && !getSelection().toString()) app.toggleLine(file, Number(line.dataset.line));
  });
  new ResizeObserver(() => {
    if (!bands) return;
    if (Math.abs(port.width - grid.clientWidth) + Math.abs(port.height - grid.clientHeight) > 1) refold();
  }).observe(grid);

  return {
    paint, reveal, layout: refold,
    mark(records) {
      const before = marked;
      marked = new Set(records);
      for (const record of new Set([...before, ...marked])) repaint(record);
    },
    fold() {
      const folded = bands.all.some(band => !band.folded);
      for (const band of bands.all) band.folded = folded;
      refold();
    },
    stops() {  // the breakpoints have changed
      for (const element of grid.querySelectorAll("[data-row]")) {
        const [band, r] = element.dataset.row.split(".").map(Number);
        element.classList.toggle("stop", app.broken(bands.all[band].rows[r], bands.all[band], r));
      }
      for (const element of source.querySelectorAll("[data-line]")) {
        element.classList.toggle("stop", app.brokenLine(file, Number(element.dataset.line)));
      }
    },
    get bands() { return bands; },
  };
}
