// sliders.js says what the replay found, and asks "what if": leaves and constants get fields for their numbers.  It gives
//
//   mountSliders(tape, element, app)
//   app.replayed             of the tape that is open: {tape, base, change, run, shown}; base is null until it has run
//   app.replay               the function of replay.js
//   app.exchange(kind)       shows the tape "recorded", "changed" or as "difference"
//
// What is changed is the input of a replay; everything else on the page follows, since it shows another tape, whose
// numbers the replay has computed.

function mountSliders(tape, element, app) {
  const AT_ONCE = 20000, FIELDS = 64; // what is replayed without being asked, by `much`; entries with a field
  const status = document.getElementById("replay");
  let chosen = 0, entryAt = 0, inputs = [];
  const start = of => { app.replayed = {tape: of, base: null, change: {leaves: {}, constants: {}}, run: null, shown: "recorded"}; };
  start(tape);
  app.replay = replay;

  // what can be changed: each version of a leaf, and each constant array or number, which one row of a loop uses again
  // in each column
  function inputsOf({records, leaves, array}, base) {
    const found = [], groups = new Map();
    leaves.forEach((leaf, n) => leaf.values.forEach((v, k) => {
      const a = base.leaf(n, k), later = leaf.values.length > 1 ? `, version ${k}` : "";
      if (a?.data.length && a.dtype.startsWith("float")) found.push({name: leaf.name + later, a, leaves: [`${n},${k}`], uses: []});
    }));
    for (const record of records) {
      if (record.sweep !== null) continue;
      record.inputs.forEach((ref, k) => {
        const given = record.args[k], plain = given?.number !== undefined;
        const a = base.operands[record.number][k];
        if (ref || given == null || base.blocked[record.number] || !a?.data.length || !(plain || a.dtype.startsWith("float"))) return;
        const column = record.column ?? record.time, key = [plain ? `=${a.data[0]}` : given, record.name, k, column].join();
        if (!groups.has(key)) {
          const inside = record.inputs.map((other, j) => (j === k ? record.constants[k] ?? "·" : other ? nameText(app.replayed.tape, other) : constantName(record, j)));
          const when = column === null || column === undefined ? "" : `t = ${column}: `;
          const item = {name: `${when}${record.constants[k] ?? "·"} in ${record.name}(${inside.join(", ")})`, a, constants: [], uses: [], plain};
          groups.set(key, item);
          found.push(item);
        }
        groups.get(key).constants.push(`${record.number},${k}`);
        groups.get(key).uses.push(record.number);
      });
    }
    return found;
  }
  const keysOf = item => (item.leaves ? [app.replayed.change.leaves, item.leaves] : [app.replayed.change.constants, item.constants]);
  const current = item => { const [change, [key]] = keysOf(item); return change[key] ?? item.a; };
  function set(item, data) { // the entries as the dtype rounds them; those of the tape again: no change
    const [change, keys] = keysOf(item), like = item.a, kit = replay.kit;
    const a = kit.array(like.shape, like.dtype === "number" ? "float64" : like.dtype, null);
    data.forEach((x, k) => { a.data[k] = kit.rounding(like.dtype)(x); });
    const same = a.data.every((x, k) => Object.is(x, Number(like.data[k])));
    for (const key of keys) if (same) delete change[key]; else change[key] = a;
    if (took < 40) apply();
    else waiting ||= requestAnimationFrame(() => { waiting = 0; apply(); }); // a slider moves faster than a long tape is run
  }
  let took = 0, waiting = 0;

  function compute() {
    const {replayed} = app, {tape: of} = replayed;
    replayed.base ??= replay(of);
    inputs = replayed.base.refusal ? [] : inputsOf(of, replayed.base);
    draw();
  }
  function apply() {
    const {replayed} = app, {leaves, constants} = replayed.change, from = performance.now();
    const any = Object.keys(leaves).length + Object.keys(constants).length;
    replayed.run = any ? replayed.base.changed(replayed.change) : null;
    if (replayed.run) Object.assign(replayed.run, {tapes: {}});
    app.exchange(!any ? "recorded" : replayed.shown === "difference" ? "difference" : "changed");
    drawEffects();
    took = performance.now() - from;
  }
  app.reset = () => {
    app.replayed.change = {leaves: {}, constants: {}};
    apply();
    if (document.getElementById("fields")) range();
  };
  app.exchange = kind => {
    const {replayed} = app, {run} = replayed;
    replayed.shown = run || kind === "hunt" ? kind : "recorded";
    document.documentElement.dataset.numbers = replayed.shown;
    const now = replayed.shown === "recorded" ? replayed.tape : run.tapes[kind] ??= run.tape(kind === "difference");
    now.replayOf = replayed;
    if (app.tape !== now) app.show(now);
  };
  app.on("tape", () => {
    if (app.tape.replayOf === app.replayed && app.tape !== app.replayed.tape) return;
    if (app.tape === app.replayed.tape) { // by a link into the page, perhaps
      app.replayed.shown = document.documentElement.dataset.numbers = "recorded";
      return;
    }
    start(app.tape); // an expansion was opened, or closed
    document.documentElement.dataset.numbers = "recorded";
    later();
  });

  // what stands there --------------------------------------------------------------------------------------------------

  const exponent = x => (x === 0 ? "0" : x.toExponential(1).replace("e+", "e"));
  function verdict({base}) {
    const unknown = [...base.unknown].map(([name, why]) => `<code>${escaped(name)}</code> (${escaped(why)})`);
    const about = base.where ?? {}, n = about.record ?? null;
    const place = base.difference === 0 ? "" : n !== null ? `, in the value of %${n}` : `, in step ${about.step + 1}${app.replayed.tape.sweeps.length > 1 ? ` of sweep ${about.sweep}` : ""}`;
    return `<p><b>Replayed:</b> largest difference <span class="n" data-figure="replay" data-value="${full(base.difference)}">${exponent(base.difference)}</span>` +
      ` <span class="dim">${base.difference === 0 ? "this page computed the forward pass and every sweep again, and found the same numbers, bit for bit" : `between the tape and what this page computes again from leaves and constants${place}`}.</span></p>` +
      (unknown.length ? `<p class="warn">Not replayed: ${unknown.join(", ")}. What comes of them is taken from the tape, and does not follow a change.</p>` : "");
  }
  function draw() {
    const {replayed} = app, {base} = replayed;
    if (!base) {
      status.innerHTML = `<section class="card"><p><button id="replaynow">Replay this tape</button> <span class="dim">compute its ${replayed.tape.records.length.toLocaleString("en")} records and its sweeps again in this page</span></p></section>`;
      element.innerHTML = "";
      return;
    }
    if (base.refusal) {
      status.innerHTML = `<section class="card"><p class="dim">Not replayed. ${escaped(base.refusal)}</p></section>`;
      element.innerHTML = "";
      return;
    }
    status.innerHTML = `<section class="card">${verdict(replayed)}</section>`;
    if (!inputs.length) {
      element.innerHTML = "";
      return;
    }
    element.innerHTML = '<section class="card"><h2>What if</h2><p class="dim">Change a number that the program began with. Values, cotangents, shares and .grad follow.</p>' +
      `<p><label>change <select id="what">${inputs.map((item, k) => `<option value="${k}">${escaped(item.name)}</option>`).join("")}</select></label></p>` +
      '<div id="fields"></div><div id="effects"></div></section>';
    chosen = Math.min(chosen, inputs.length - 1);
    drawFields();
    drawEffects();
  }
  function drawFields() {
    const item = inputs[chosen], {shape} = item.a, now = current(item), was = item.a.data, columns = shape.at(-1) ?? 1;
    document.getElementById("what").value = chosen;
    entryAt = Math.min(entryAt, now.data.length - 1);
    // a field for numbers takes no nan and no infinity
    const written = (x, dtype) => (Math.abs(x) < Infinity ? `value="${short(x, dtype)}"` : `placeholder="${full(x)}"`);
    const field = k => `<input type="number" step="any" data-entry="${k}" aria-label="entry ${placeOf(shape, k)}" ${written(Number(now.data[k]), item.a.dtype)}${Object.is(Number(now.data[k]), Number(was[k])) ? "" : ' class="moved"'}${k === entryAt ? ' data-here=""' : ""}>`;
    const few = now.data.length <= FIELDS, rows = [];
    if (few) for (let k = 0; k < now.data.length; k += columns) rows.push(`<div>${Array.from({length: columns}, (_, j) => field(k + j)).join("")}</div>`);
    else rows.push(`<div><label>entry <input type="number" id="entry" min="0" max="${now.data.length - 1}" value="${entryAt}"></label> ${placeOf(shape, entryAt)} of ${shape.join("×")}: ${field(entryAt)}</div>`);
    const uses = item.uses.length > 1 || item.constants ? `<span class="dim">used by ${item.uses.slice(0, 6).map(n => `%${n}`).join(", ")}${item.uses.length > 6 ? " …" : ""}</span>` : "";
    document.getElementById("fields").innerHTML = `<div class="entries">${rows.join("")}</div>` +
      `<p><input type="range" id="slide" step="any" aria-label="entry ${placeOf(shape, entryAt)}"> <output id="slid"></output></p>` +
      `<p>all entries <button data-times="2">× 2</button> <button data-times="0.5">× ½</button> <button data-times="-1">× −1</button> <button data-times="0">× 0</button>` +
      ` <button id="resetone">reset</button> <button id="resetall">reset everything</button> ${uses}</p>`;
    range();
  }
  // as few digits as give the same number in its dtype
  const short = (x, dtype) => {
    const round = replay.kit.rounding(dtype);
    for (let digits = 1; digits < 17; digits++) if (round(Number(x.toPrecision(digits))) === x) return Number(x.toPrecision(digits));
    return x;
  };
  const placeOf = (shape, k) => `[${replay.kit.strides(shape).map((s, j) => Math.floor(k / s) % shape[j]).join(", ")}]`;
  function range() {
    const item = inputs[chosen], slide = document.getElementById("slide"), was = Number(item.a.data[entryAt]), reach = Math.max(1, 2 * Math.abs(was));
    slide.min = was - reach;
    slide.max = was + reach;
    slide.value = Number(current(item).data[entryAt]);
    slide.setAttribute("aria-label", `entry ${placeOf(item.a.shape, entryAt)}`);
    document.getElementById("slid").textContent = `${placeOf(item.a.shape, entryAt)} = ${brief(Number(current(item).data[entryAt]))}, recorded ${brief(was)}`;
    for (const input of element.querySelectorAll("[data-entry]")) {
      const k = Number(input.dataset.entry), x = Number(current(item).data[k]);
      if (document.activeElement !== input) input.value = short(x, item.a.dtype);
      input.classList.toggle("moved", !Object.is(x, Number(item.a.data[k])));
      input.toggleAttribute("data-here", k === entryAt);
    }
  }

  // before and after: where sweeps began, and every gradient
  function drawEffects() {
    const box = document.getElementById("effects"), {base, run, tape: of, shown} = app.replayed;
    if (!box) return;
    if (!run) {
      box.innerHTML = "";
      return;
    }
    const rows = [], seen = new Set();
    const row = (label, was, now, what) => {
      const moved = was && now ? replay.gap(now, was) : null, single = was?.data.length === 1;
      const cell = (a, name) => figure(a ? (single ? Number(a.data[0]) : norm(a)) : null, `${name}:${what}`);
      rows.push(`<tr><th scope="row">${label}</th><td class="dim">${single ? "" : "norm"}</td><td>${cell(was, "recorded")}</td><td>${cell(now, "changed")}</td><td>${moved === null ? "" : figure(moved, `moved:${what}`)}</td></tr>`);
    };
    const one = (values, n) => (Array.isArray(values[n]) ? values[n][0] : values[n]);
    let most = 0, which = -1, count = 0;
    of.records.forEach((record, n) => {
      const was = one(base.values, n), now = one(run.values, n), moved = was && now && was !== now ? replay.gap(now, was) : 0;
      if (moved > 0) count++;
      if (moved > most) [most, which] = [moved, n];
    });
    of.sweeps.forEach((sweep, s) => {
      const first = sweep.steps[0]?.target;
      if (first?.kind === "record" && !seen.has(first.number)) {
        seen.add(first.number);
        row(nameHTML(of, {kind: "record", number: first.number, output: 0}), one(base.values, first.number), one(run.values, first.number), nameText(of, {kind: "record", number: first.number, output: 0}));
      }
      sweep.steps.forEach((step, k) => {
        if (step.target.kind !== "leaf" || step.depth) return;
        const {name} = of.leaves[step.target.number], label = `${escaped(name)}${sweep.kind === "backward" ? ".grad" : "’s gradient"}${of.sweeps.length > 1 ? ` <span class="dim">sweep ${s}</span>` : ""}`;
        row(label, base.sweeps[s].steps[k].cotangent, run.sweeps[s].steps[k].cotangent, `${name}${of.sweeps.length > 1 ? `:${s}` : ""}`);
      });
    });
    box.innerHTML = `<p role="group" aria-label="what the page shows">the page shows ${["changed", "difference", "recorded"].map(kind => `<button data-show="${kind}" aria-pressed="${shown === kind}">${{changed: "the changed run", difference: "the differences", recorded: "the recorded run"}[kind]}</button>`).join(" ")}</p>` +
      `<table class="effects"><thead><tr><th></th><th></th><th scope="col">recorded</th><th scope="col">changed</th><th scope="col">largest change of an entry</th></tr></thead><tbody>${rows.join("")}</tbody></table>` +
      `<p>${count} of ${of.records.length} values move${which < 0 ? "" : `, most ${nameHTML(of, {kind: "record", number: which, output: 0})}, by ${figure(most, "moved:most")}`}.</p>` +
      '<p class="dim">What the program computed without recording it stays as it was: later versions of weights, masks, conditions, indices, and where it branched.</p>';
  }
  // numbers that are not of the tape: data-figure in place of data-of
  const figure = (x, what) => `<span data-figure="${escaped(what)}"${x === null ? "" : ` data-value="${full(x)}"`}>${numberHTML(x)}</span>`;
  const norm = a => { const m = replay.largest(a); return m ? m * Math.sqrt(a.data.reduce((s, x) => s + (x / m) ** 2, 0)) : 0; };

  // events -------------------------------------------------------------------------------------------------------------

  status.addEventListener("click", event => { if (event.target.id === "replaynow") compute(); });
  element.addEventListener("change", event => {
    if (event.target.id === "what") [chosen, entryAt] = [Number(event.target.value), 0];
    else if (event.target.id === "entry") entryAt = Math.max(0, Math.min(inputs[chosen].a.data.length - 1, Number(event.target.value) || 0));
    else return;
    drawFields();
  });
  element.addEventListener("focusin", event => {
    if (event.target.dataset.entry === undefined) return;
    entryAt = Number(event.target.dataset.entry);
    range();
  });
  element.addEventListener("input", event => {
    const {entry: k} = event.target.dataset, item = inputs[chosen];
    if ((k === undefined && event.target.id !== "slide") || event.target.value === "") return;
    const data = Array.from(current(item).data, Number);
    data[k === undefined ? entryAt : Number(k)] = Number(event.target.value);
    set(item, data);
    range();
  });
  element.addEventListener("click", event => {
    const button = event.target.closest("button"), item = inputs[chosen];
    if (!button) return;
    if (button.dataset.times !== undefined) set(item, Array.from(current(item).data, x => Number(x) * Number(button.dataset.times)));
    else if (button.id === "resetone") set(item, Array.from(item.a.data, Number));
    else if (button.id === "resetall") app.reset();
    else if (button.dataset.show) {
      app.exchange(button.dataset.show);
      drawEffects();
      element.querySelector(`[data-show="${button.dataset.show}"]`).focus();
      return;
    } else return;
    range();
  });

  const idle = typeof requestIdleCallback === "function" ? requestIdleCallback : f => setTimeout(f, 30);
  function later() {
    const {tape: of} = app.replayed, entries = v => [v].flat().reduce((n, x) => n + (of.array(x)?.size ?? 0), 0);
    let much = of.sweeps.reduce((n, sweep) => n + sweep.steps.length, 0); // and a hundred entries count as a record
    for (const record of of.records) much += much > AT_ONCE ? 1 : 1 + [...record.args, record.value].reduce((n, v) => n + entries(v), 0) / 100;
    if (much > AT_ONCE && of.values === "all") draw();
    else idle(() => { if (app.replayed.tape === of) compute(); });
  }
  later();
}
