// controls.js makes the app and everything that moves it: buttons, keys, search, breakpoints, the place in the URL.
//
//   app {tape, sweep, at, mode, step, record, failure}
//       mode is "backward" or "forward"; at is how many steps of the sweep, or how many records, are done
//   app.go(n)              to there
//   app.render()           draw everything again
//   app.on(event, fn)      "render" (after it), "go", "pick" (a record was clicked: a function that returns true has
//                          dealt with it), "tape" (another tape or sweep), "key" (likewise, with the event)
//   app.pick(record)       run to the step at which a record is visited
//   app.show(tape)         the same tape with other numbers, at the same place
//   app.open(record)       the expansion of a fused record; app.close() back
//   app.users(record)      numbers of the records that used it
//   app.hides              the quiz sets it: sizes are not to be seen by hovering
//   app.say(text)          for those who listen to the page

const tape = await load();

const app = {
  tape, sweep: null, at: 0, mode: "backward", failure: null, hides: false,
  get step() {
    return app.mode === "backward" && app.sweep && app.at > 0 ? app.sweep.steps[app.at - 1] : null;
  },
  get record() {
    if (app.mode === "forward") return app.tape.records[app.at - 1] ?? null;
    const {step} = app;
    return step?.target.kind === "record" ? app.tape.records[step.target.number] : null;
  },
  get length() {
    return app.mode === "forward" ? app.tape.records.length : app.sweep ? app.sweep.steps.length : 0;
  },
};

{
  const $ = id => document.getElementById(id), html = document.documentElement;
  const listeners = {};
  const emit = (event, ...given) => (listeners[event] ?? []).some(fn => fn(...given) === true);
  app.on = (event, fn) => (listeners[event] ??= []).push(fn);
  app.say = text => { $("say").textContent = text; };

  if (tape.error) app.failure = {text: tape.error.text, line: tape.error.line === undefined ? null : tape.lines[tape.error.line]};
  const broken = tape.sweeps.findLast?.(sweep => sweep.error);
  app.sweep = broken ?? tape.sweeps[tape.sweeps.length - 1] ?? null;
  if (!app.sweep) app.mode = "forward";

  // the users of records
  let users = null;
  app.users = number => {
    if (users?.tape !== app.tape) {
      users = {tape: app.tape, of: new Map()};
      for (const record of app.tape.records) {
        for (const used of new Set(record.inputs.filter(ref => ref?.kind === "record").map(ref => ref.number))) {
          (users.of.get(used) ?? users.of.set(used, []).get(used)).push(record.number);
        }
      }
    }
    return users.of.get(number) ?? [];
  };

  // moving -----------------------------------------------------------------------------------------------------------

  app.go = n => {
    app.at = Math.max(0, Math.min(app.length, Math.round(n) || 0));
    app.render();
    view.reveal(app.record?.number ?? -1);
    emit("go");
  };

  app.render = () => {
    if (html.dataset.mode !== app.mode) html.dataset.mode = app.mode;
    view.paint();
    panel.render();
    const scrub = $("scrub");
    scrub.max = app.length;
    scrub.value = app.at;
    const what = app.mode === "forward" ? "record" : "step";
    $("where").textContent = `${what} ${app.at} of ${app.length}`;
    scrub.setAttribute("aria-valuetext", $("where").textContent);
    for (const id of ["first", "previous", "previous-time"]) $(id).disabled = app.at <= 0;
    for (const id of ["last", "next", "next-time"]) $(id).disabled = app.at >= app.length;
    remember();
    emit("render");
  };

  app.pick = number => {
    if (emit("pick", number)) return;
    if (app.mode === "forward") {
      app.go(number + 1);
      return;
    }
    const step = app.sweep ? pathOf(app.sweep).visits[number] : -1;
    if (step >= 0) app.go(step + 1);
    else app.say(`The sweep does not come to ${nameText(app.tape, {kind: "record", number, output: 0})}.`);
    if (step < 0) flash(`This sweep does not come to %${number}: no gradient goes there.`);
  };

  let fading = 0;
  function flash(text) {
    const tip = $("tip");
    tip.textContent = text;
    tip.hidden = false;
    tip.style.left = "14px";
    tip.style.top = `${innerHeight - 60}px`;
    clearTimeout(fading);
    fading = setTimeout(() => { tip.hidden = true; }, 2500);
  }

  const targetAt = k => app.mode === "forward" ? {kind: "record", number: k} : app.sweep.steps[k].target;
  function timeAt(k) {
    const target = targetAt(k);
    if (target.kind !== "record") return null;
    const record = app.tape.records[target.number];
    return timeOf(record);
  }

  // on to where the time changes
  function timeStep(direction) {
    let n = app.at;
    if (direction > 0) {
      if (n >= app.length) return;
      const time = timeAt(n);
      do n++; while (n < app.length && timeAt(n) === time);
    } else {
      if (n <= 0) return;
      const time = timeAt(n - 1);
      do n--; while (n > 0 && timeAt(n - 1) === time);
    }
    app.go(n);
  }

  function runTo(test, what, direction = 1) {
    for (let k = direction > 0 ? app.at : app.at - 2; k >= 0 && k < app.length; k += direction) {
      if (test(targetAt(k), k)) {
        app.go(k + 1);
        return;
      }
    }
    flash(`No ${what} ${direction > 0 ? "from here on" : "before this"}.`);
    app.say(`No ${what} ${direction > 0 ? "from here on" : "before this"}.`);
  }

  const isFan = (target, k) => app.mode === "forward" ? app.users(target.number).length > 1 :
    target.kind === "record" && pathOf(app.sweep).visited[k].some(entry => entry.expected > 1);
  const isLeaf = target => app.mode === "forward" ? app.tape.records[target.number].inputs.some(ref => ref?.kind === "leaf") : target.kind === "leaf";

  // breakpoints --------------------------------------------------------------------------------------------------------

  const stops = new Set();

  const stopNames = record => [record.name, `%${record.number}`, ...record.variables.filter(Boolean)];

  function isStop(target) {
    if (target.kind === "leaf") return stops.has(app.tape.leaves[target.number].name);
    if (target.kind !== "record") return false;
    const record = app.tape.records[target.number];
    if (stopNames(record).some(name => stops.has(name))) return true;
    if (record.stack.some(number => stops.has(lineStop(app.tape.lines[number].file, app.tape.lines[number].number)))) return true;
    const {bands} = view, band = bands.all[bands.band[record.number]];
    return !!band && stops.has(rowStop(band, bands.row[record.number]));
  }

  const lineStop = (file, number) => `${fileName(tape, file ?? "")}:${number}`;
  const rowStop = (band, row) => `${band.rows[row].label} in ${band.title || band.number}`;
  app.broken = (row, band, r) => stops.has(rowStop(band, r));
  app.brokenLine = (file, number) => stops.has(lineStop(file, number));
  app.toggleRow = (band, r) => toggle(rowStop(band, r));
  app.toggleLine = (file, number) => toggle(lineStop(file, number));

  function toggle(stop) {
    if (!stops.delete(stop)) stops.add(stop);
    view.stops();
    drawStops();
  }

  function drawStops(asking = false) {
    const names = new Set(app.tape.leaves.map(leaf => leaf.name));
    for (const record of app.tape.records.slice(0, 5000)) stopNames(record).forEach(name => { if (name[0] !== "%") names.add(name); });
    $("breaks").innerHTML = !stops.size && !asking ? "" : '<span class="dim">stop at</span>' +
      [...stops].map(stop => `<button class="mini" data-stop="${escaped(stop)}" aria-label="remove the breakpoint ${escaped(stop)}">${escaped(stop)} ×</button>`).join("") +
      `<input id="stop" list="names" placeholder="a name" aria-label="breakpoint by name: a variable, leaf, operation or %number"><datalist id="names">${[...names].slice(0, 200).map(name => `<option value="${escaped(name)}">`).join("")}</datalist>`;
    if (asking) $("stop").focus();
  }

  $("breaks").addEventListener("click", event => {
    const {stop} = event.target.dataset;
    if (stop !== undefined) toggle(stop);
  });
  $("breaks").addEventListener("keydown", event => {
    if (event.target.id !== "stop") return;
    if (event.key === "Enter" && event.target.value.trim()) {
      stops.add(event.target.value.trim());
      view.stops();
      drawStops(true);
    } else if (event.key === "Escape") {
      drawStops();
      $("run").focus();
    }
  });

  function run(direction = 1) {
    if (!stops.size) drawStops(true);
    else runTo(isStop, "breakpoint", direction);
  }

  // modes, sweeps, expansions --------------------------------------------------------------------------------------------

  function setMode(mode) {
    if (mode === "backward" && !app.sweep) {
      flash("This tape has watched no backward pass.");
      return;
    }
    const {record} = app;
    app.mode = mode;
    for (const id of ["backward", "forward"]) $(id).setAttribute("aria-pressed", id === mode);
    if (mode === "forward") app.go(record ? record.number + 1 : app.tape.records.length);
    else {
      const step = record ? pathOf(app.sweep).visits[record.number] : -1;
      app.go(step + 1);
    }
  }

  function setSweep(number) {
    app.sweep = app.tape.sweeps[number] ?? null;
    app.mode = app.sweep ? "backward" : "forward";
    drawSweeps();
    for (const id of ["backward", "forward"]) $(id).setAttribute("aria-pressed", id === app.mode);
    emit("tape");
    app.go(0);
  }

  function drawSweeps() {
    const {sweeps} = app.tape, select = $("sweep");
    select.hidden = sweeps.length < 2;
    select.innerHTML = sweeps.map(sweep => `<option value="${sweep.number}"${sweep === app.sweep ? " selected" : ""}>sweep ${sweep.number}: ${sweep.kind}, ${sweep.steps.length} steps${sweep.error ? ", ended by an error" : ""}</option>`).join("");
  }

  const outside = [];
  function enter(inner, place) {
    app.tape = inner;
    app.sweep = inner.sweeps[inner.sweeps.length - 1] ?? null;
    app.mode = place?.mode ?? (app.sweep ? "backward" : "forward");
    if (place?.sweep) app.sweep = place.sweep;
    $("crumbs").hidden = !inner.outer;
    if (inner.outer) {
      $("crumbs").innerHTML = `<button id="close">‹ back to the tape <kbd>Esc</kbd></button> inside ${nameHTML(inner.outer, {kind: "record", number: inner.opened.number, output: 0}).replace(/<\/?button[^>]*>/g, "")} = <code>${escaped(inner.opened.name)}</code>: its reference composition, run again on the same arguments`;
    }
    drawSweeps();
    for (const id of ["backward", "forward"]) $(id).setAttribute("aria-pressed", id === app.mode);
    emit("tape");
    app.go(place?.at ?? 0);
  }

  // the same tape with other numbers, at the same place
  app.show = other => {
    const {sweep} = app;
    app.tape = other;
    app.sweep = sweep && other.sweeps[sweep.number];
    emit("tape");
    app.render();
  };

  app.open = number => {
    const inner = app.tape.expansion(app.tape.records[number]);
    if (!inner) {
      flash(`%${number} has no inside here: it is an ordinary operation, or the tape did not keep its arguments.`);
      return;
    }
    outside.push({tape: app.tape, sweep: app.sweep, mode: app.mode, at: app.at});
    enter(inner);
  };
  app.close = () => {
    const before = outside.pop() ?? (app.tape.outer && {tape: app.tape.outer, at: 0});
    if (before) enter(before.tape, before);
  };
  $("crumbs").addEventListener("click", event => { if (event.target.closest("#close")) app.close(); });

  // the place in the URL: #b0.52 is step 52 of sweep 0, #f17 record 17 of the forward pass, #x5.b0.3 inside of record 5

  let writing = 0;
  function remember() {
    clearTimeout(writing);
    writing = setTimeout(() => {
      const place = app.mode === "forward" ? `f${app.at}` : `b${app.sweep.number}.${app.at}`;
      try {
        history.replaceState(null, "", `#${app.tape.outer ? `x${app.tape.opened.number}.` : ""}${place}`);
      } catch { /* a page without an address of its own */ }
    }, 120);
  }

  function placeFrom(hash) {
    const found = /^#(?:x(\d+)\.)?(?:b(\d+)\.(\d+)|f(\d+))$/.exec(hash);
    if (!found) return null;
    const [, inner, sweep, step, record] = found;
    const within = inner === undefined ? tape : tape.expansion(tape.records[inner] ?? {});
    if (!within || (sweep !== undefined && !within.sweeps[sweep])) return null;
    return {tape: within, mode: sweep === undefined ? "forward" : "backward", sweep: within.sweeps[sweep ?? within.sweeps.length - 1], at: Number(step ?? record)};
  }

  addEventListener("hashchange", () => {
    const place = placeFrom(location.hash);
    if (place) enter(place.tape, place);
  });

  // search -----------------------------------------------------------------------------------------------------------

  let hits = [], chosen = 0;

  function search(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    hits = [];
    if (words.length) {
      for (const record of app.tape.records) {
        const about = searched(record);
        if (words.every(word => about.includes(word))) hits.push(record.number);
      }
    }
    chosen = 0;
    view.mark(hits.slice(0, 4000));
    drawHits(words.length > 0);
  }

  const abouts = new WeakMap();
  function searched(record) {
    if (!abouts.has(record)) {
      const line = record.line === null ? null : app.tape.lines[record.line], time = timeOf(record);
      const inputs = record.inputs.map(ref => ref?.kind === "leaf" ? app.tape.leaves[ref.number].name : "");
      abouts.set(record, [`%${record.number}`, record.name, ...record.variables, ...inputs, record.module, time === null ? "" : `t=${time}`,
        record.layer === null ? "" : `layer=${record.layer}`, line && `line=${line.number}`, line && line.text].filter(Boolean).join(" ").toLowerCase() + " ");
    }
    return abouts.get(record);
  }

  function drawHits(open) {
    const list = $("found"), from = Math.max(0, Math.min(chosen - 4, hits.length - 8));
    list.hidden = !open;
    $("search").setAttribute("aria-expanded", open);
    list.innerHTML = hits.slice(from, from + 8).map((number, k) => {
      const record = app.tape.records[number];
      return `<div role="option" id="hit${number}" data-hit="${number}" aria-selected="${from + k === chosen}"><b>${escaped(nameText(app.tape, {kind: "record", number, output: 0}))}</b> = ${escaped(record.name)} <span class="dim">${record.line === null ? "" : escaped(app.tape.lines[record.line].text.slice(0, 60))}</span></div>`;
    }).join("") + `<div class="dim" role="presentation">${hits.length ? `${chosen + 1} of ${hits.length}` : "nothing found"}</div>`;
    if (hits.length) $("search").setAttribute("aria-activedescendant", `hit${hits[chosen]}`);
  }

  $("search").addEventListener("input", event => search(event.target.value));
  $("search").addEventListener("keydown", event => {
    const move = {ArrowDown: 1, ArrowUp: -1}[event.key];
    if (move && hits.length) {
      chosen = (chosen + move + hits.length) % hits.length;
      drawHits(true);
    } else if (event.key === "Enter" && hits.length) {
      app.pick(hits[chosen]);
      chosen = (chosen + 1) % hits.length;
      drawHits(true);
    } else if (event.key === "Escape") {
      event.target.value = "";
      search("");
      event.target.blur();
    } else return;
    event.preventDefault();
  });
  $("search").addEventListener("blur", () => { setTimeout(() => { $("found").hidden = true; }, 150); });
  $("search").addEventListener("focus", event => { if (event.target.value) drawHits(true); });
  $("found").addEventListener("mousedown", event => {
    const hit = event.target.closest("[data-hit]");
    event.preventDefault();
    if (hit) app.pick(Number(hit.dataset.hit));
  });

  // theme, help --------------------------------------------------------------------------------------------------------

  const dark = matchMedia("(prefers-color-scheme: dark)");
  let theme = null;
  try { theme = localStorage.getItem("tinygrad_rnn theme"); } catch { /* no storage in a sandbox */ }
  const setTheme = () => { html.dataset.theme = theme ?? (dark.matches ? "dark" : "light"); };
  dark.addEventListener("change", setTheme);
  setTheme();
  function turn() {
    theme = html.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("tinygrad_rnn theme", theme); } catch { /* likewise */ }
    setTheme();
  }

  app.keys = [["→", "one step"], ["←", "back one step"], ["Shift →", "one time step"], ["Shift ←", "back one time step"], ["Home", "to the start"], ["End", "to the end"],
    ["f", "run to the next fan-in"], ["l", "run to the next leaf"], ["r", "run to the next breakpoint"], ["Shift r", "back to the last breakpoint"], ["b", "add a breakpoint by name"],
    ["m", "forward or backward"], ["s", "the next sweep"], ["o", "open a fused record"], ["Esc", "close what is open"], ["/", "search; Enter runs there"],
    ["z", "fold or unfold all"], ["a", "arguments of this step"], ["t", "light or dark"], ["g", "into the grid: arrows, Enter"], ["?", "this sheet"]];

  function help() {
    $("keys").innerHTML = `<h2>Keys</h2><dl>${app.keys.map(([key, what]) => `<dt>${key.split(" ").map(part => `<kbd>${part}</kbd>`).join(" ")}</dt><dd>${what}</dd>`).join("")}</dl>` +
      "<p>Click a cell, or a name, to run to the step that visits it. Click left of a row or of a line of the source to stop there. The address of the page holds the place: send it to point at a moment.</p>" +
      '<p style="margin-top:12px"><button id="closehelp">close</button></p>';
    $("keys").showModal();
  }
  $("keys").addEventListener("click", event => { if (event.target.id === "closehelp" || event.target === $("keys")) $("keys").close(); });

  // buttons and keys ---------------------------------------------------------------------------------------------------

  const actions = {
    first: () => app.go(0), last: () => app.go(app.length), previous: () => app.go(app.at - 1), next: () => app.go(app.at + 1),
    "previous-time": () => timeStep(-1), "next-time": () => timeStep(1),
    fan: () => runTo(isFan, "fan-in"), leaf: () => runTo(isLeaf, app.mode === "forward" ? "use of a leaf" : "leaf"), run: () => run(),
    backward: () => setMode("backward"), forward: () => setMode("forward"), theme: turn, help,
  };
  for (const [id, act] of Object.entries(actions)) $(id).addEventListener("click", act);
  $("scrub").addEventListener("input", event => app.go(Number(event.target.value)));
  $("sweep").addEventListener("change", event => setSweep(Number(event.target.value)));

  const keys = {
    ArrowRight: () => app.go(app.at + 1), ArrowLeft: () => app.go(app.at - 1), "Shift+ArrowRight": () => timeStep(1), "Shift+ArrowLeft": () => timeStep(-1),
    Home: actions.first, End: actions.last, f: actions.fan, l: actions.leaf, r: () => run(), "Shift+R": () => run(-1), b: () => drawStops(true),
    m: () => setMode(app.mode === "forward" ? "backward" : "forward"),
    s: () => { if (app.tape.sweeps.length > 1) setSweep((app.sweep.number + 1) % app.tape.sweeps.length); },
    o: () => { if (app.record) app.open(app.record.number); }, Escape: () => app.close(),
    "/": () => $("search").focus(), z: () => view.fold(), t: turn, "?": help, "Shift+?": help, g: () => $("grid").focus(),
    a: () => {
      const details = $("args");
      if (details) details.querySelector("summary").click();
    },
  };
  addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || $("keys").open) return;
    if (/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) && event.target.id !== "scrub") return;
    if (emit("key", event)) {
      event.preventDefault();
      return;
    }
    const act = keys[`${event.shiftKey ? "Shift+" : ""}${event.key}`];
    if (!act) return;
    event.preventDefault();
    act();
  });

  // a name anywhere leads to where it is visited
  document.addEventListener("click", event => {
    const ref = event.target.closest?.("[data-ref]");
    if (!ref) return;
    const number = Number(ref.dataset.ref.slice(1));
    if (ref.dataset.ref[0] === "r") app.pick(number);
    else if (app.mode === "forward") {
      const user = app.tape.records.find(record => record.number >= app.at && record.inputs.some(r => r?.kind === "leaf" && r.number === number));
      if (user) app.go(user.number + 1);
    } else {
      const entry = pathOf(app.sweep).entries.get(`l${number}`);
      if (entry && entry.visit < Infinity) app.go(entry.visit + 1);
    }
  });

  // start --------------------------------------------------------------------------------------------------------------

  for (const id of ["bar", "main"]) $(id).hidden = false;
  $("title").textContent = tape.title;
  if (app.failure || broken) {
    const {failure} = app;
    $("banner").hidden = false;
    $("banner").innerHTML = `<code>${escaped(failure ? failure.text : broken.error)}</code>` + (failure?.line ? ` <span>${escaped(fileName(tape, failure.line.file))}, line ${failure.line.number}</span>` : broken ? ` <span>in sweep ${broken.number}, step ${broken.steps.length}</span>` : "") +
      (broken ? '<button id="toerror">to where it failed</button>' : "");
    $("toerror")?.addEventListener("click", () => enter(tape, {mode: "backward", sweep: broken, at: broken.steps.length}));
  }
  const view = mountView(app), panel = mountPanel(app);
  app.view = view;
  if (typeof mountQuiz === "function") mountQuiz(app);
  if (typeof mountReplay === "function") mountReplay(app);
  if (typeof mountSliders === "function") mountSliders(app.tape, $("sliders"), app);
  window.tinygrad = {app, tape};
  const place = placeFrom(location.hash);
  if (place) enter(place.tape, place);
  else if (app.failure && !app.sweep) enter(tape, {mode: "forward", at: tape.records.length});
  else if (broken) enter(tape, {mode: "backward", sweep: broken, at: broken.steps.length});
  else enter(tape, null);
}
