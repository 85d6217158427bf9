// The live page: an editor, Python in a worker, the sweep to step through, and the quiz of the mutants.
"use strict";

const $ = (id) => document.getElementById(id);
const ROW = 30.4; // the height of a row of the tape, as page.css has it
const KEPT = "tinygrad_rnn: unmasked engines";
let worker = null, bytes = null, waiting = null, run = null, step = 0, count = 0;

// Python ------------------------------------------------------------------------------------------------------------

async function unpacked(packed) {
  const text = atob(packed), raw = new Uint8Array(text.length);
  for (let k = 0; k < text.length; k++) raw[k] = text.charCodeAt(k);
  const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

function say(text, failed = false) {
  $("state").textContent = text;
  $("state").classList.toggle("error", failed);
}

function ready(yes) {
  for (const id of ["run", "try"]) $(id).disabled = !yes;
  $("stop").disabled = waiting === null;
}

async function load() {
  const names = Object.keys(PARTS);
  if (names.length < 5) throw new Error("a part of Python is missing beside this page; build the site again");
  bytes = {};
  for (const name of names) {
    bytes[name] = await unpacked(PARTS[name]);
    delete PARTS[name];
    $("loading").value = Object.keys(bytes).length;
  }
}

function begin() {
  say("Python is starting ...");
  $("loading").hidden = false;
  $("loading").value = 6;
  const address = URL.createObjectURL(new Blob([LIVE.worker], { type: "text/javascript" }));
  const mine = (worker = new Worker(address));
  worker.onmessage = ({ data }) => mine === worker && answered(data);
  worker.onerror = (event) => mine === worker && answered({ id: null, failed: event.message || "the worker did not start" });
  worker.postMessage({ parts: bytes, modules: LIVE.modules });
}

function answered(data) {
  if (data.ready) {
    say(`Python ${data.ready} is ready.`);
    $("loading").hidden = true;
    document.body.dataset.ready = "yes";
    return ready(true);
  }
  const asked = waiting;
  waiting = null;
  ready(data.id !== null);
  if (data.failed) {
    if (data.id === null) say(`Python did not start: ${data.failed}`, true);
    else {
      // the interpreter itself gave up, which a program with very deep recursion can bring about
      failed({ line: null, text: `Python broke down (${data.failed}) and is started again` });
      restart();
    }
    return;
  }
  if (asked) asked(JSON.parse(data.result));
}

function restart() {
  worker.terminate();
  waiting = null;
  document.body.dataset.ready = "no";
  ready(false);
  begin();
}

function ask(action, program, then) {
  if (waiting !== null || $("run").disabled) return;
  waiting = then;
  ready(false);
  worker.postMessage({ id: ++count, action, program });
}

// The program -------------------------------------------------------------------------------------------------------

function numbered(wrong = null) {
  const lines = $("program").value.split("\n").length;
  $("gutter").replaceChildren();
  for (let k = 1; k <= lines; k++) {
    const line = document.createElement("span");
    line.textContent = `${k}\n`;
    if (k === wrong) line.className = "wrong";
    $("gutter").append(line);
  }
  $("gutter").scrollTop = $("program").scrollTop;
}

function failed(error) {
  $("error").hidden = error === null;
  $("error").textContent = error === null ? "" : (error.line ? `line ${error.line}: ` : "") + error.text;
  numbered(error && error.line);
}

function start() {
  if ($("run").disabled) return;
  failed(null);
  say("Running ...");
  ask("run", $("program").value, (found) => {
    say("Done.");
    run = found;
    failed(found.error);
    $("output").hidden = found.output === "";
    $("output").textContent = found.output;
    const sweeps = found.sweeps.filter((sweep) => sweep.steps.length);
    $("sweep").hidden = found.values.length === 0;
    $("which").replaceChildren(...sweeps.map((_, k) => new Option(`${k + 1} of ${sweeps.length}`, k)));
    $("which").hidden = $("which-label").hidden = sweeps.length < 2;
    run.sweeps = sweeps;
    chosen(Math.max(0, sweeps.length - 1));
  });
}

// The sweep ---------------------------------------------------------------------------------------------------------

function chosen(which) {
  $("which").value = which;
  run.sweep = run.sweeps[which] ?? { steps: [] };
  $("at").max = Math.max(0, run.sweep.steps.length - 1);
  const none = run.sweep.steps.length === 0;
  for (const id of ["at", "first", "back", "next", "visit", "last"]) $(id).disabled = none;
  drawn();
  shown(0);
}

const nameOf = (value) => value.names.at(-1) ?? `value ${value.index - run.values[0].index + 1}`;
const byIndex = (index) => run.values.find((value) => value.index === index);

function drawn() {
  const table = document.createElement("table"), head = table.createTHead().insertRow(), body = table.createTBody();
  for (const [text, kind] of [["", ""], ["value", ""], ["is", "number"], ["waits with", "number"], ["gradient", "number"]]) {
    const cell = document.createElement("th");
    cell.textContent = text;
    cell.className = kind;
    cell.scope = "col";
    head.append(cell);
  }
  const places = new Map(run.values.map((value, k) => [value.index, k]));
  for (const value of run.values) {
    const row = body.insertRow();
    row.id = `V${value.index}`;
    const how = value.parents.length
      ? `${value.operation}(${value.parents.map((p) => (byIndex(p) ? nameOf(byIndex(p)) : "...")).join(", ")})` : "leaf";
    row.insertCell();
    const what = row.insertCell();
    what.className = "what";
    what.textContent = `${nameOf(value)} = ${how}`;
    if (value.line) what.title = `line ${value.line}`;
    for (const text of [value.data, "", ""]) {
      const cell = row.insertCell();
      cell.className = "number";
      cell.textContent = text;
    }
  }
  $("tape").replaceChildren(table);
  if (run.hidden) {
    const more = document.createElement("p");
    more.className = "quiet";
    more.textContent = `and ${run.hidden} more values`;
    $("tape").append(more);
  }
  // arcs from a result to what it was computed from, in the first column
  const longest = Math.max(1, ...run.values.flatMap((v) => v.parents.map((p) => places.get(v.index) - (places.get(p) ?? 0))));
  const width = Math.min(90, 24 + 10 * Math.sqrt(longest));
  head.cells[0].style.minWidth = `${width}px`;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("width", width);
  svg.setAttribute("height", ROW * (run.values.length + 1));
  svg.setAttribute("aria-hidden", "true");
  for (const value of run.values) {
    value.parents.forEach((parent, k) => {
      if (!places.has(parent)) return;
      const y = (index) => ROW * (places.get(index) + 1.5), from = y(value.index), to = y(parent);
      const reach = (width - 12) * Math.sqrt((from - to) / ROW / longest) * (k % 2 ? 0.85 : 1);
      const arc = document.createElementNS("http://www.w3.org/2000/svg", "path");
      arc.setAttribute("d", `M${width - 4} ${from} C${width - reach} ${from} ${width - reach} ${to} ${width - 4} ${to}`);
      arc.setAttribute("fill", "none");
      arc.dataset.from = value.index;
      arc.dataset.to = parent;
      svg.append(arc);
    });
  }
  $("tape").append(svg);
}

function shown(k) {
  const steps = run.sweep.steps;
  step = Math.max(0, Math.min(k, steps.length - 1));
  $("at").value = step;
  const now = steps[step];
  for (const line of document.querySelectorAll(".source .now")) line.classList.remove("now");
  $("said").textContent = now ? sentence(now) : "The program calls no backward: nothing to step through.";
  const over = now?.line === 0; // the sweep has ended
  const line = now && !over && $(`L${now.line}`);
  if (line) {
    line.classList.add("now");
    seen(line, $("source"));
  }
  for (const value of run.values) {
    const row = $(`V${value.index}`), cells = row.cells;
    const waits = now?.totals[value.index], grad = now?.grads[value.index];
    const current = now && !over && now.node === value.index;
    row.className = current ? "now" : waits != null ? "waits" : "";
    cells[3].textContent = waits ?? (current && now.g ? now.g : "");
    cells[4].textContent = grad ?? "";
    if (current) seen(row, $("tape-frame"));
  }
  const color = getComputedStyle(document.body);
  for (const arc of document.querySelectorAll("#tape path")) {
    const hot = now && !over && now.parent !== null && +arc.dataset.from === now.node && +arc.dataset.to === now.parent;
    arc.setAttribute("stroke", color.getPropertyValue(hot ? "--accent" : "--rule"));
    arc.setAttribute("stroke-width", hot ? 3 : 1.5);
  }
}

function seen(element, frame) {
  const top = element.offsetTop, height = frame.clientHeight;
  if (top < frame.scrollTop + 40 || top > frame.scrollTop + height - 60) frame.scrollTop = top - height / 2;
}

function sentence(now) {
  const place = `Step ${step + 1} of ${run.sweep.steps.length}${run.cut && step + 1 === run.sweep.steps.length ? " (more were not noted)" : ""}.`;
  if (now.line === 0) return `${place} The sweep is over: the leaves have their gradients.`;
  const node = now.node === null ? null : byIndex(now.node), parent = now.parent === null ? null : byIndex(now.parent);
  const many = Object.keys(now.totals).length;
  let text = `${place} ${many} ${many === 1 ? "value waits" : "values wait"}.`;
  if (node) text += ` At ${nameOf(node)}${node.line ? `, of line ${node.line}` : ""}${now.g ? `, whose total is ${now.g}` : ""}.`;
  if (node && parent && node.parents.includes(now.parent) && now.contribution)
    text += ` To ${nameOf(parent)} it contributes ${now.contribution}.`;
  return text;
}

function nextVisit() {
  const steps = run?.sweep?.steps ?? [], node = steps[step]?.node;
  let k = step + 1;
  while (k < steps.length - 1 && steps[k].node === node) k++;
  shown(k);
}

// The quiz ----------------------------------------------------------------------------------------------------------

const ORDER = [3, 6, 0, 5, 2, 7, 1, 4]; // not that of mutants.py, which goes from easy to hard
let unmasked = new Map(), found = null;

function remembered() {
  try {
    unmasked = new Map(JSON.parse(localStorage.getItem(KEPT) ?? "[]"));
  } catch {
    unmasked = new Map(); // storage may be shut off, or hold something else
  }
}

function remember() {
  try {
    localStorage.setItem(KEPT, JSON.stringify([...unmasked]));
  } catch {
    // then it is for this visit alone
  }
}

function listed() {
  $("score").textContent = `${unmasked.size} of 8 unmasked` + (unmasked.size === 8 ? ": all of them. That is a test suite." : ".");
  const boxes = ORDER.map((k, place) => {
    const box = document.createElement("div"), title = document.createElement("h3"), row = found?.engines[k];
    const known = unmasked.get(k);
    box.className = `engine${known ? " unmasked" : ""}`;
    box.dataset.engine = place + 1;
    title.textContent = `Engine ${place + 1}` + (known ? `, ${known.name}: ${known.mistake}` : "");
    box.append(title);
    const line = (text) => {
      const p = document.createElement("p");
      p.textContent = text;
      box.append(p);
    };
    const told = (gradients) => Object.entries(gradients).map(([name, grad]) => `${name}: ${grad}`).join(", ");
    if (row) line(row.same ? "It finds the same." : `It finds ${told(row.found)}; the honest engine ${told(found.honest)}.`);
    if (known) line(`Of this comes: ${known.effect}.`);
    return box;
  });
  $("engines").replaceChildren(...boxes);
}

function tried() {
  failed(null);
  say("Running on nine engines ...");
  ask("quiz", $("program").value, (result) => {
    say("Done.");
    failed(result.error);
    if (result.error) return;
    found = result;
    for (const [k, { same, name, mistake, effect }] of result.engines.entries())
      if (!same) unmasked.set(k, { name, mistake, effect });
    remember();
    listed();
  });
}

// Buttons and keys --------------------------------------------------------------------------------------------------

$("examples").replaceChildren(...Object.keys(LIVE.examples).map((title) => new Option(title, title)));
$("examples").onchange = () => {
  $("program").value = LIVE.examples[$("examples").value];
  failed(null);
};
$("program").value = Object.values(LIVE.examples)[1];
$("examples").selectedIndex = 1;
$("program").oninput = () => numbered();
$("program").onscroll = () => ($("gutter").scrollTop = $("program").scrollTop);
$("program").onkeydown = (event) => {
  if (event.key === "Escape") event.target.dataset.leave = "yes";
  if (event.key !== "Tab" || event.shiftKey || event.ctrlKey || event.altKey) return;
  const area = event.target;
  if (area.dataset.leave) return delete area.dataset.leave; // after Escape, Tab goes on to the buttons
  event.preventDefault();
  area.setRangeText("    ", area.selectionStart, area.selectionEnd, "end");
  numbered();
};
$("run").onclick = start;
$("stop").onclick = () => {
  if (waiting === null) return;
  restart();
  failed({ line: null, text: "stopped" });
};
$("try").onclick = tried;
$("forget").onclick = () => {
  unmasked.clear();
  found = null;
  remember();
  listed();
};
$("at").oninput = () => shown(+$("at").value);
$("which").onchange = () => chosen(+$("which").value);
$("first").onclick = () => shown(0);
$("back").onclick = () => shown(step - 1);
$("next").onclick = () => shown(step + 1);
$("visit").onclick = nextVisit;
$("last").onclick = () => shown(Infinity);
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "Enter") return start();
  if (event.target.matches("textarea, input, select, button, [tabindex]") || $("sweep").hidden) return;
  const action = { ArrowLeft: () => shown(step - 1), ArrowRight: () => shown(step + 1), Home: () => shown(0),
    End: () => shown(Infinity), " ": nextVisit }[event.key];
  if (action) {
    event.preventDefault();
    action();
  }
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => run && shown(step));

numbered();
remembered();
listed();
load().then(begin, (error) => say(`Python cannot be loaded: ${error.message}`, true));
