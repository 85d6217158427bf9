// quiz.js asks.  It gives
//
//   mountQuiz(app)     three games beside looking on: "quiz", type an entry of a contribution; "order", click what is
//                      visited next; "hunt", find the first wrong number of a sweep with one planted mistake
//   app.game           null or one of these; app.question is what is asked
//   app.score          {quiz: [right, asked], order: ..., hunt: ...}
//
// MISTAKES names what goes wrong in hand-written backward passes.  A wrong answer is compared with what each of them
// would give, and the hunt plants one.  They are made by the rules of the replay, from the numbers of the step.

const MISTAKES = [
  // [what, in words, {g, y, args, name, p, position, needs, right, vjp} -> a wrong contribution, or null]
  ["the sign", "the sign is wrong: it is minus what belongs there", c => c.map(x => -x, c.right)],
  ["the factor is missing", "the factor is missing: this is the cotangent itself, not times the local derivative",
    c => (c.g.data.length >= c.right.data.length ? c.summed(c.g) : null)],
  ["y for x", "the value and the argument are mixed up: y stands where x belongs, or x where y belongs",
    c => (c.args[c.position]?.shape.join() === c.y.shape.join() ? c.vjp({y: c.args[c.position], args: c.args.map((a, k) => (k === c.position ? c.y : a))}) : null)],
  ["transposed", "a matrix is transposed", c => {
    const square = a => a?.shape.length === 2 && a.shape[0] === a.shape[1] && a.shape[0] > 1;
    if (!["matmul", "linear"].includes(c.name)) return null;
    if (c.args.some((a, k) => k !== c.position && square(a))) return c.vjp({args: c.args.map((a, k) => (k !== c.position && square(a) ? c.turned(a) : a))});
    return square(c.right) ? c.turned(c.right) : null;
  }],
  ["not summed over the broadcast axis", "it is not summed over the axis that was broadcast: this is the first slice alone",
    c => {
      const shape = c.right.shape, lead = c.g.shape.length - shape.length;
      const repeated = c.g.shape.map((n, k) => n > 1 && (k < lead || shape[k - lead] === 1));
      if (c.args.length < 2 || ["matmul", "stack", "cat"].includes(c.name) || !repeated.includes(true)) return null;
      const s = replay.kit.strides(c.g.shape);
      return c.vjp({g: c.map((x, k) => (repeated.some((yes, j) => yes && Math.floor(k / s[j]) % c.g.shape[j]) ? 0 : x), c.g)});
    }],
  ["1/N", "the 1/N of the mean is missing", c => (["mean", "cross_entropy", "nll_loss"].includes(c.name) && c.count > 1 ? c.map(x => x * c.count, c.right) : null)],
  ["the other argument", "this is what another argument of this operation gets", c => c.other],
  ["the wrong time step", "it is computed with the values of the wrong time step", c => (c.later ? c.vjp({y: c.later.y, args: c.later.args}) : null)],
  ["counted twice", "it is counted twice", c => c.map(x => 2 * x, c.right)],
];

function mountQuiz(app) {
  const box = document.getElementById("quiz"), modes = document.getElementById("modes"), right = document.getElementById("right");
  const NAMES = {quiz: "Quiz", order: "Order quiz", hunt: "Bug hunt"};
  Object.assign(app, {game: null, question: null, score: {quiz: [0, 0], order: [0, 0], hunt: [0, 0]}});
  let said = "", at = -1;

  const text = target => nameText(app.tape, target), link = target => nameHTML(app.tape, target);
  const record = number => ({kind: "record", number, output: 0});
  const stepsOf = () => app.sweep?.steps ?? [];
  const close = (x, y, largest) => Math.abs(x - y) <= 0.01 * Math.max(Math.abs(y), 2e-3 * largest);
  const largestOf = a => Array.from(a.data, Number).reduce((m, x) => Math.max(m, Number.isFinite(x) ? Math.abs(x) : 0), 0);
  const indexOf = (shape, k) => (shape.length ? `[${replay.kit.strides(shape).map((s, j) => Math.floor(k / s) % shape[j]).join(", ")}]` : "");
  const any = list => list[Math.floor(Math.random() * list.length)];

  // what a contribution was made of, by the replay; null where that has no rule
  function context(sweep, k, j) {
    const {base, run, shown} = app.replayed ?? {}, now = shown === "changed" && run ? run : base;
    const step = sweep.steps[k], {target} = step;
    if (!now || now.refusal || target.kind !== "record" || now.blocked[target.number] || step.depth) return null;
    const n = target.number, {name} = app.tape.records[n], rule = replay.known[name], one = x => (Array.isArray(x) && !rule.several ? x[0] : x);
    const {position} = step.contributions[j], g = one(now.sweeps[sweep.number].steps[k].cotangent), y = one(now.values[n]);
    const args = now.operands[n], needs = [], contribution = now.sweeps[sweep.number].steps[k].contributions[j];
    needs[position] = true;
    if (!contribution || rule.several || !g) return null;
    const {kit} = replay, map = (f, a) => kit.filled(a.shape, a.dtype, i => f(a.data[i], i));
    // the record at the same place of the next column
    const {bands} = app.view, band = bands.all[bands.band[n]], beside = band?.cells[bands.row[n]][bands.column[n] + 1] ?? -1;
    const fits = beside >= 0 && !now.blocked[beside] && now.operands[beside].every((a, i) => a?.shape.join() === args[i]?.shape.join());
    const others = now.sweeps[sweep.number].steps[k].contributions.filter((d, i) => i !== j && d && d.shape.join() === contribution.shape.join());
    return {
      g, y, args, name, position, right: contribution, map, other: others[0] ?? null,
      later: fits ? {y: one(now.values[beside]), args: now.operands[beside]} : null,
      count: args[0] ? args[0].data.length / Math.max(1, name === "mean" ? y.data.length : args[0].shape.at(-1)) : 1,
      vjp: given => kit.pulled(name, given.g ?? g, given.y ?? y, given.args ?? args, now.keywords[n], needs)[position],
      summed: a => { const d = kit.summedTo(a, contribution.shape); return d.data.length === contribution.data.length ? d : null; },
      turned: a => kit.filled([a.shape[1], a.shape[0]], a.dtype, i => a.data[(i % a.shape[0]) * a.shape[1] + Math.floor(i / a.shape[0])]),
    };
  }
  function mistakesAt(sweep, k, j) { // those that make a difference there: [what, words, array]
    const c = context(sweep, k, j), found = [];
    if (!c) return found;
    for (const [what, words, make] of MISTAKES) {
      let wrong = null;
      try { wrong = make(c); } catch { /* it does not fit this operation */ }
      if (wrong && wrong.shape.join() === c.right.shape.join() && replay.gap(wrong, c.right) > 0.05 * replay.largest(c.right)) found.push([what, words, wrong]);
    }
    return found;
  }

  // the quiz -----------------------------------------------------------------------------------------------------------

  function askEntry() {
    const {step} = app;
    app.question = null;
    if (!step || app.mode !== "backward") return;
    const askable = step.contributions.map((c, j) => [c, j, app.tape.array(c.value)]).filter(([, , a]) => a && !Array.isArray(a) && a.whole && a.size && !a.complex);
    if (!askable.length) return;
    const [c, j, a] = any(askable), sizes = Array.from(a.data, Number), largest = largestOf(a);
    const telling = sizes.map((x, k) => k).filter(k => Math.abs(sizes[k]) > 0.02 * largest && Number.isFinite(sizes[k]));
    const k = telling.length ? any(telling) : 0, [entry, index] = pathOf(app.sweep).entryOf(c);
    const before = entry.path.sum(entry, index), sum = before?.whole && !Array.isArray(before) && Math.random() < 0.4;
    app.question = {step, c, j, k, a, entry, index, sum, before: sum ? Number(before.data[k]) : 0, largest, done: false};
    app.question.truth = sizes[k] + app.question.before;
  }
  arrayHTML.hidden = of => {
    const q = app.question;
    if (app.game !== "quiz" || !q || q.done) return false;
    const [kind, name] = of.split(/:(.*)/);
    if (kind === "after" || (kind === "contribution" && !(q.sum && Number(name) === q.j))) return true;
    const touched = q.step.contributions.map(c => c.target);
    if (kind === "waiting") return touched.some(target => name === keyOf(target, app.tape));
    return kind === "grad" && touched.some(target => target.kind === "leaf" && app.tape.leaves[target.number].name === name);
  };
  function judge(x) { // [right, what to say]
    const q = app.question, {truth, largest} = q, spot = indexOf(q.a.shape, q.k);
    const scale = Math.max(largest, Math.abs(q.before));
    if (close(x, truth, scale)) return [true, `Right: ${brief(truth)}.`];
    if (q.sum) {
      const d = truth - q.before;
      if (close(x, d, scale)) return [false, `That is the contribution alone: it is not added to what was there, ${brief(q.before)}.`];
      if (close(x, q.before, scale)) return [false, "That is what was there before: the contribution of this step is not added."];
      if (close(x, q.before - d, scale)) return [false, "The contribution is subtracted; it is to be added."];
    } else {
      if (close(x, -truth, scale)) return [false, "The size is right, the sign is not."];
      for (const [, words, wrong] of mistakesAt(app.sweep, q.step.number, q.j))
        if (close(x, wrong.data[q.k], scale)) return [false, `Not right: ${words}.`];
      const turned = q.a.shape.length === 2 && q.a.shape[0] === q.a.shape[1] ? Number(q.a.data[(q.k % q.a.shape[1]) * q.a.shape[0] + Math.floor(q.k / q.a.shape[1])]) : NaN;
      if (close(x, turned, scale)) return [false, "That is the entry with row and column exchanged: transposed."];
    }
    for (let i = 0; i < q.entry.list.length; i++) {
      const other = app.tape.array(q.entry.list[i].value), {target} = app.sweep.steps[q.entry.steps[i]];
      if (i !== q.index && other?.whole && other.data.length === q.a.data.length && close(x, Number(other.data[q.k]), scale))
        return [false, `That is the share of another use: of ${text(target)}, in step ${q.entry.steps[i] + 1}.`];
    }
    for (const [i, c] of q.step.contributions.entries()) {
      const other = app.tape.array(c.value);
      if (i !== q.j && other?.whole && Array.from(other.data, Number).some(y => y && close(x, y, largestOf(other)))) return [false, `That number goes to ${text(c.target)}, not to ${text(q.c.target)}.`];
    }
    const place = Array.from(q.a.data, Number).findIndex((y, i) => i !== q.k && y && close(x - (q.sum ? q.before : 0), y, largest));
    if (place >= 0) return [false, `That is entry ${indexOf(q.a.shape, place)}; asked is ${spot}.`];
    const ratio = x / truth;
    return [false, Number.isFinite(ratio) && ratio !== 0 ? `Not right: it is ${brief(Math.abs(ratio))} times what belongs there${ratio < 0 ? ", and of the other sign" : ""}.` : "Not right."];
  }
  function quizHTML() {
    const q = app.question;
    if (app.mode !== "backward" || !app.sweep) return "<p>The quiz is about the backward pass.</p>";
    if (!q) return `<p>${app.step ? "This step hands nothing on that could be asked for" : "Nothing is visited yet"}. Press <kbd>→</kbd>.</p>`;
    const what = q.sum ? `<p>The contribution is shown. What stands at ${link(q.c.target)} once it is added to what was there?</p>` : `<p>What does this step give to ${link(q.c.target)}? Its cotangent and its formula are below, its answer is hidden.</p>`;
    return `${what}<form id="answer"><label>entry ${indexOf(q.a.shape, q.k) || "(a number)"} <input id="typed" inputmode="decimal" autocomplete="off" size="12"></label> <button>check</button> <button type="button" data-do="reveal">show</button> <button type="button" data-do="another">another</button></form>`;
  }
  function answer(typed) {
    const q = app.question, x = Number(typed.trim().replace("−", "-").replace(",", "."));
    if (!q || typed.trim() === "") return;
    if (Number.isNaN(x)) {
      say("That is no number.");
      return;
    }
    const [ok, words] = judge(x);
    if (!q.done) count("quiz", ok && !q.wrong, !q.wrong);
    if (ok) q.done = true; else q.wrong = true;
    say(words, ok);
    if (ok) app.render();
  }

  // the order ----------------------------------------------------------------------------------------------------------

  function orderHTML() {
    if (app.mode !== "backward" || !app.sweep) return "<p>The order is that of the backward pass.</p>";
    if (app.at >= app.length) return "<p>The sweep is over.</p>";
    const leaves = app.tape.layout.leaves.map(n => `<button class="mini" data-leafpick="${n}">${escaped(app.tape.leaves[n].name)}</button>`).join(" ");
    return `<p>${app.at} of ${app.length} steps are done. Which is visited next? Click its cell, or here a leaf: ${leaves}</p>`;
  }
  function guess(target) {
    const step = stepsOf()[app.at], path = pathOf(app.sweep), asked = step?.target;
    if (!step) return true;
    const same = asked.kind === target.kind && asked.number === target.number;
    count("order", same);
    if (same) {
      const waits = [...moment(app.sweep, app.at).waiting.values()].filter(entry => entry.visit !== app.at && entry.arrived === entry.expected).length;
      app.go(app.at + 1);
      say(`Right: ${text(asked)}. Every contribution to it has arrived${waits && asked.kind === "record" ? ", and of what waits it was recorded last" : ""}.`, true);
      return true;
    }
    say(`No. ${whyNot(target, asked, path)}`, false);
    return true;
  }
  function whyNot(target, asked, path) {
    const name = text(target), next = "What was recorded later comes first, so that whoever used a value is visited before it.";
    const visited = target.kind === "leaf" ? path.entries.get(`l${target.number}`)?.visit ?? Infinity : path.visits[target.number] < 0 ? Infinity : path.visits[target.number];
    if (visited < app.at) return `${name} has been visited, in step ${visited + 1}.`;
    if (visited === Infinity) return `The sweep does not come to ${name}: no gradient flows there.`;
    const waiting = [...moment(app.sweep, app.at).waiting.values()].filter(entry => entry.target.kind === target.kind && entry.target.number === target.number);
    const users = [...new Set(path.visited[visited].flatMap(entry => entry.steps.filter(k => k >= app.at)))];
    const named = list => list.slice(0, 3).map(k => text(app.sweep.steps[k].target)).join(", ") + (list.length > 3 ? ` and ${list.length - 3} more` : "");
    if (!waiting.length) return `Nothing has arrived at ${name} yet: ${named(users)} used it, and must be visited first.`;
    if (users.length) return `The cotangent of ${name} is not complete: it still waits for what ${named(users)} will give.`;
    return target.kind === "leaf" && asked.kind === "record" ? `The sum at ${name} is complete, but records come before leaves that are older. ${next}` : `The cotangent of ${name} is complete, too, but something waits that was recorded later. ${next}`;
  }

  // the hunt -----------------------------------------------------------------------------------------------------------

  function plant() {
    const {base, tape} = app.replayed ?? {};
    app.question = null;
    if (!base || base.refusal || !app.sweep) return;
    app.reset();
    const {sweep} = app, places = [];
    sweep.steps.forEach((step, k) => step.contributions.forEach((c, j) => { if (!step.depth && replay.largest(base.sweeps[sweep.number].steps[k].contributions[j] ?? {data: []}) > 0) places.push([k, j]); }));
    for (let tries = 0; tries < 200 && places.length; tries++) {
      const [k, j] = any(places.slice(0, tries < 50 ? 60 : undefined)), c = sweep.steps[k].contributions[j], [entry, index] = pathOf(sweep).entryOf(c), kinds = [];
      const d = base.sweeps[sweep.number].steps[k].contributions[j];
      for (const [what, words, wrong] of mistakesAt(sweep, k, j)) kinds.push({what, words, alter: () => wrong});
      if (index > 0) {
        const before = entry.path.sum(entry, index), words = "it overwrites what had arrived there, instead of being added";
        if (before?.whole && largestOf(before) > 0.05 * replay.largest(d)) kinds.push({what: "assigned", words, assign: true}, {what: "assigned", words, assign: true});
      }
      const earlier = sweep.number && !j && tape.sweeps[sweep.number - 1].steps.findIndex(s => s.target.kind === "record" && s.target.number === sweep.steps[k].target.number && !s.depth);
      const old = earlier >= 0 && sweep.number && !j ? base.sweeps[sweep.number - 1].steps[earlier].cotangent : null;
      if (old?.data && largestOf(old)) kinds.push({what: "not popped", words: "the cotangent of the earlier sweep was left there, and is added to this one", cotangent: g => replay.kit.added(g, old)});
      if (!kinds.length) continue;
      const mistake = {sweep: sweep.number, step: k, contribution: j, ...any(kinds)};
      app.replayed.run = base.changed({mistake});
      app.replayed.run.tapes = {};
      app.question = {mistake, original: tape, done: false};
      app.exchange("hunt");
      app.go(0);
      return;
    }
  }
  function huntHTML() {
    const {base} = app.replayed ?? {}, q = app.question;
    if (!app.sweep) return "<p>There is no backward pass to hunt in.</p>";
    if (base?.refusal) return `<p>The hunt runs the sweep again with a mistake. ${escaped(base.refusal)}</p>`;
    if (!base) return '<p>The tape is not replayed yet. <button data-do="another">try now</button></p>';
    if (!q) return "<p>On this tape no mistake can be planted that makes a difference.</p>";
    if (q.done) return '<p><button data-do="another">plant another</button></p>';
    const seen = new Set(), options = [];
    for (const node of right.querySelectorAll("#step [data-of], #waiting [data-of], #grads .much [data-of]")) {
      const {of} = node.dataset;
      if (seen.has(of) || !/^(cotangent|contribution|after|waiting|grad)/.test(of)) continue;
      seen.add(of);
      options.push(`<option value="${escaped(of)}">${escaped(words(of))}</option>`);
    }
    return `<p>One mistake is planted in this sweep; the values of the forward pass are right. Step on, compute what each formula gives, and click the first number that is wrong.</p>` +
      (options.length ? `<p><label>or choose it <select id="suspect">${options.join("")}</select></label> <button data-do="accuse">this is wrong</button> <button data-do="reveal">give up</button></p>` : "");
  }
  const words = of => {
    const [kind, name] = of.split(/:(.*)/), c = app.step?.contributions[Number(name)];
    const called = kind === "waiting" ? text(moment(app.sweep, app.at).waiting.get(name)?.target ?? record(0)) : name;
    return {cotangent: "the cotangent of this step", contribution: c && `what it gives to ${text(c.target)}`, after: c && `the sum at ${text(c.target)} with it`, waiting: `the sum that waits at ${called}`, grad: `${name}.grad so far`}[kind] ?? of;
  };
  function differs(of) { // whether the number is wrong now
    const {original} = app.question, [kind, name] = of.split(/:(.*)/), was = original.sweeps[app.sweep.number], k = app.at - 1;
    const pair = {
      cotangent: () => [app.tape.array(app.step.cotangent), original.array(was.steps[k].cotangent)],
      contribution: () => [app.tape, original].map((tape, i) => tape.array((i ? was : app.sweep).steps[k].contributions[Number(name)].value)),
      after: () => [app.sweep, was].map(sweep => { const [entry, index] = pathOf(sweep).entryOf(sweep.steps[k].contributions[Number(name)]); return entry.path.sum(entry, index + 1); }),
      waiting: () => [app.sweep, was].map(sweep => moment(sweep, app.at).waiting.get(name)?.value),
      grad: () => [app.sweep, was].map(sweep => [...moment(sweep, app.at).grads.values()].find(grad => grad.leaf.name === name)?.sum),
    }[kind]?.();
    const lists = pair?.map(x => (Array.isArray(x) ? x : [x]));
    return !!lists && lists[0].some((a, i) => a && lists[1][i] && replay.gap(a, lists[1][i]) > 1e-3 * (replay.largest(lists[1][i]) || 1e-30));
  }
  function accuse(of) {
    const q = app.question, [kind, name] = of.split(/:(.*)/);
    if (!q || q.done) return;
    const {mistake} = q, here = app.at - 1 === mistake.step, c = stepsOf()[mistake.step].contributions[mistake.contribution];
    const first = mistake.cotangent ? kind === "cotangent" : mistake.assign ?
      (kind === "after" && Number(name) === mistake.contribution) || (kind === "waiting" && name === keyOf(c.target, app.tape)) || (kind === "grad" && c.target.kind === "leaf" && app.tape.leaves[c.target.number].name === name) :
      kind === "contribution" && Number(name) === mistake.contribution;
    if (here && first) {
      q.done = true;
      count("hunt", !q.wrong);
      say(`Found: ${mistake.words}. It is the first wrong number, in step ${mistake.step + 1}.`, true);
      return;
    }
    q.wrong = true;
    if (!differs(of)) say("No: this number is what belongs there.", false);
    else if (here) say(`It is wrong, but only because ${mistake.cotangent ? "the cotangent of this step" : `what this step gives to ${text(c.target)}`} is.`, false);
    else say("It is wrong, but it is not the first: a number before it was wrong already. Go back.", false);
  }

  // frame --------------------------------------------------------------------------------------------------------------

  function count(game, ok, asked = true) {
    if (asked) app.score[game][1]++;
    if (ok) app.score[game][0]++;
  }
  function say(words, ok) {
    said = `<p class="${ok === undefined ? "dim" : ok ? "good" : "wrong"}">${escaped(words)}</p>`;
    app.say(words);
    draw();
  }
  function draw() {
    const {game} = app;
    box.hidden = !game;
    if (!game) {
      box.innerHTML = "";
      return;
    }
    const typed = document.getElementById("typed")?.value ?? "", focused = document.activeElement?.id;
    const [ok, asked] = app.score[game], body = {quiz: quizHTML, order: orderHTML, hunt: huntHTML}[game]();
    box.innerHTML = `<section class="card game"><h2>${NAMES[game]} <span class="count" data-figure="score">${ok} of ${asked}</span></h2>${body}<div id="verdict" role="status">${said}</div></section>`;
    const field = document.getElementById("typed");
    if (field && typed && app.question && !app.question.fresh) field.value = typed;
    if (app.question) app.question.fresh = false;
    if (focused === "typed" || focused === "suspect") document.getElementById(focused)?.focus();
  }
  function fresh() { // a question for the place where we are
    if (app.game === "quiz") askEntry();
    if (app.question) app.question.fresh = true;
  }
  app.play = game => {
    if ((app.game === "hunt" || game === "hunt") && app.replayed?.base) app.reset();
    Object.assign(app, {game, question: null, hides: game === "quiz" || game === "hunt"});
    said = "";
    document.documentElement.dataset.playing = game ?? "";
    drawModes();
    if (game === "hunt") plant(); else fresh();
    app.render();
  };
  function drawModes() {
    modes.setAttribute("role", "group");
    modes.setAttribute("aria-label", "games");
    modes.innerHTML = Object.entries(NAMES).map(([game, name]) => `<button data-game="${game}" aria-pressed="${app.game === game}">${name}</button>`).join("");
  }
  modes.addEventListener("click", event => {
    const {game} = event.target.dataset;
    if (game) app.play(app.game === game ? null : game);
  });
  box.addEventListener("submit", event => {
    event.preventDefault();
    answer(document.getElementById("typed").value);
  });
  box.addEventListener("click", event => {
    const {do: what, leafpick} = event.target.dataset, q = app.question;
    if (leafpick !== undefined) guess({kind: "leaf", number: Number(leafpick)});
    else if (what === "another") {
      said = "";
      if (app.game === "hunt") plant(); else fresh();
      app.render();
    } else if (what === "accuse") accuse(document.getElementById("suspect").value);
    else if (what === "reveal" && q) {
      if (!q.done) count(app.game, false, !(app.game === "quiz" && q.wrong));
      q.done = true;
      if (app.game === "hunt") {
        app.go(q.mistake.step + 1);
        say(`It is in step ${q.mistake.step + 1}: ${q.mistake.words}.`);
      } else {
        say(`It is ${brief(q.truth)}.`);
        app.render();
      }
    }
  });
  right.addEventListener("click", event => {
    const node = app.game === "hunt" && !event.target.closest("#quiz, button, summary") ? event.target.closest("[data-of]") : null;
    if (node && /^(cotangent|contribution|after|waiting|grad)/.test(node.dataset.of)) accuse(node.dataset.of);
  });
  app.on("pick", number => (app.game === "order" && app.mode === "backward" ? guess(record(number)) : false));
  app.on("tape", () => {
    if (!app.game || (app.game === "hunt" && app.question && app.tape.replayOf === app.replayed)) return;
    if (app.game === "hunt" && app.tape !== app.replayed?.tape) app.question = null;
    at = -1;
  });
  app.on("render", () => {
    const place = app.mode === "backward" ? app.at : -2 - app.at;
    if (place !== at && app.game === "quiz") {
      const hid = !!app.question && !app.question.done;
      said = "";
      fresh();
      at = place;
      if (hid || app.question) { app.render(); return; } // what is hidden has changed
    }
    if (place !== at && app.game === "hunt" && !app.question?.done) said = "";
    at = place;
    draw();
  });
  drawModes();
}
