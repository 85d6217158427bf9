// panel.js draws the right side: this step, what waits, the gradients.  It gives
//
//   mountPanel(app)                 makes it; returns {render()}
//   formulaHTML(tape, record, equations, vjp)   equations in the names of the record
//
// What carries numbers says what they are: data-of = "value", "cotangent", "argument:NAME", "saved:NAME",
// "contribution:K", "before:K", "after:K", "waiting:KEY", "grad:LEAF", "earlier:LEAF", "share:LEAF:K"; LEAF is its name.

const SHOWN = 8, RECENT = 6;
// a bar over a name; over more than a few letters fonts have none that is long enough
const barred = name => name.length < 12 ? `<mover>${name}<mo>¯</mo></mover>` : `<mrow class="over">${name}</mrow>`;

// a name in MathML: [letters, index]; the index is the time
function nameML(tape, ref) {
  const [name, time] = shortName(tape, ref), [, short] = /^[^ (]+\.(?!T$)(\w+)$/.exec(name) ?? ["", name];
  return [`<mi>${escaped(short)}</mi>`, time === "" ? "" : `<mn>${time}</mn>`];
}

const constantName = (record, k) => record.constants[k] ?? record.argNames[k] ?? "constant";
const negative = x => Array.isArray(x) || x < 0 || Object.is(x, -0);
const numberML = x => negative(x) ? `<mrow><mo>(</mo><mn>${escaped(brief(x))}</mn><mo>)</mo></mrow>` : `<mn>${escaped(brief(x))}</mn>`;
const held = x => x && typeof x === "object" ? x.float === undefined ? x.complex ?? Number(x.int) : Number(x.float.replace("inf", "Infinity")) : x;

// what stands for the places of a template
function namesOf(tape, record) {
  const names = new Map([["\ue000", nameML(tape, {kind: "record", number: record.number, output: 0})]]);
  record.argNames.forEach((_, k) => {
    const place = String.fromCharCode(0xe001 + k), value = record.args[k];
    if (record.inputs[k]) names.set(place, nameML(tape, record.inputs[k]));
    else if (value && value.number !== undefined) names.set(place, [numberML(held(value.number)), ""]);
    else if (record.constants[k]) names.set(place, [`<mi>${escaped(record.constants[k])}</mi>`, ""]);
    else names.set(place, [record.formula.letters[k].replace("<math>", "").replace("</math>", ""), ""]);
  });
  record.formula.params.forEach((name, k) => names.set(String.fromCharCode(0xe100 + k), [numberML(held(record.params[name])), ""]));
  return names;
}

function formulaHTML(tape, record, equations, vjp) {
  const names = record.formula.filled ? namesOf(tape, record) : null;
  return equations.map(text => {
    if (!text.startsWith("<math")) {
      const plain = html => html.replace(/<[^>]*>/g, "");
      const said = names ? text.replace(/[\ue000-\ue1ff]/g, c => names.has(c) ? names.get(c).map(plain).filter(Boolean).join("_") : c) : text;
      return `<code class="tex">${escaped(said)}</code>`;
    }
    if (vjp) text = text.replace("<mo>=</mo>", '<mo>+=</mo>');
    if (names) {
      // the time goes under the letter, beside the indices that are there
      text = text.replace(/<mover><mi>([\ue000-\ue1ff])<\/mi><mo>¯<\/mo><\/mover>/g, "<mi>$1~</mi>")
        .replace(/<msub><mi>([\ue000-\ue1ff]~?)<\/mi>(<m[in]>[^<]*<\/m[in]>|<mrow>.*?<\/mrow>)<\/msub>/g, (whole, c, index) => {
          const [name, time] = names.get(c[0]);
          const base = c[1] ? barred(name) : name;
          return `<msub>${base}<mrow>${time ? `${time}<mo>,</mo>` : ""}${index}</mrow></msub>`;
        })
        .replace(/<msup><mi>([\ue000-\ue1ff])<\/mi>(<m[ino]>[^<]*<\/m[ino]>)<\/msup>/g, (whole, c, power) => {
          const [name, time] = names.get(c);
          return time ? `<msubsup>${name}${time}${power}</msubsup>` : `<msup>${name}${power}</msup>`;
        })
        .replace(/<mi>([\ue000-\ue1ff])(~?)<\/mi>/g, (whole, c, over) => {
          const [name, time] = names.get(c), base = over ? barred(name) : name;
          return time ? `<msub>${base}${time}</msub>` : base;
        });
    }
    return `<div class="eq">${text}</div>`;
  }).join("");
}

// bring the children of an element to what is wanted, [key, class, html] each; those that are the same stay as they are
function patch(parent, tag, wanted) {
  const old = new Map([...parent.children].map(child => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const [key, name, html] of wanted) {
    let child = old.get(key);
    if (child) old.delete(key);
    else {
      child = document.createElement(tag);
      child.dataset.key = key;
    }
    if (child.className !== name) child.className = name;
    if (child.written !== html) child.innerHTML = child.written = html;
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const child of old.values()) child.remove();
}

const percent = x => x === null || x !== x ? "" : x && Math.abs(x) < 1e-5 ? "< 0.001 %" : `${Math.abs(x) >= 0.0995 ? (100 * x).toFixed(0) : (100 * x).toPrecision(2)} %`.replace("-", "−");

function cosine(a, b) {
  const product = dot(a, b);
  if (product === null) return null;
  const size = a.norm * b.norm;
  return size > 0 && size < Infinity ? Math.max(-1, Math.min(1, product / size)) : null;
}

function mountPanel(app) {
  const stepCard = document.getElementById("step"), waitCard = document.getElementById("waiting");
  const gradCard = document.getElementById("grads");
  const opened = new Map();  // which leaves are unfolded, by the reader
  let everything = false;

  const shapeOf = value => (value?.number === undefined && app.tape.array(value)) || {shape: []};
  const record = number => ({kind: "record", number, output: undefined});
  const link = (ref) => nameHTML(app.tape, ref);
  const array = (value, of) => arrayHTML(app.tape.array(value), of);
  const line = (label, content) => `<div class="line"><span class="what">${label}</span><div class="much">${content}</div></div>`;

  // parameters of the operation, as an axis
  function paramText(value) {
    if (value === null) return "None";
    if (typeof value === "string") return `'${value}'`;
    if (typeof value !== "object") return full(value);
    if (Array.isArray(value)) return `[${value.map(paramText).join(", ")}]`;
    const [[kind, inner]] = Object.entries(value);
    if (kind === "tuple") return `(${inner.map(paramText).join(", ")}${inner.length === 1 ? "," : ""})`;
    if (kind === "slice") return `${inner[0] ?? ""}:${inner[1] ?? ""}${inner[2] === null ? "" : `:${inner[2]}`}`.replaceAll("[object Object]", "…");
    if (kind === "array") return `array of ${shapeText(app.tape.array(inner))}`;
    if (kind === "dict") return `{${Object.entries(inner).map(([k, v]) => `${k}: ${paramText(v)}`).join(", ")}}`;
    if (kind === "ellipsis") return "...";
    if (kind === "complex") return `${full(held(inner[0]))}+${full(held(inner[1]))}j`;
    return String(inner);
  }

  function heading(plain) {
    const args = plain.inputs.map((ref, k) => {
      const given = plain.args[k];
      return ref ? link(ref) : given && given.number !== undefined ? `<span class="n">${escaped(brief(held(given.number)))}</span>` :
        `<span class="dim">${escaped(constantName(plain, k))}</span>`;
    });
    const params = Object.entries(plain.params).filter(([name]) => name[0] !== "_")
      .map(([name, value]) => `<span class="dim">${escaped(name)}=${escaped(paramText(value)).slice(0, 80)}</span>`);
    const tags = [plain.module && escaped(plain.module), plain.layer !== null && `layer ${plain.layer}`, plain.direction === 1 && "backwards",
      timeOf(plain) !== null && `t = ${timeOf(plain)}`, plain.sweep !== null && `recorded by sweep ${plain.sweep}`];
    const names = Array.isArray(plain.value) ? plain.value.map((_, k) => link({kind: "record", number: plain.number, output: k})).join(", ") : link({...record(plain.number), output: 0});
    return `<h3 class="op">${names} <span class="eqs">=</span> <code>${escaped(plain.name)}</code>(${[...args, ...params].join(", ")})</h3>` +
      `<p class="tags">${tags.filter(Boolean).map(tag => `<span class="tag">${tag}</span>`).join(" ")}</p>`;
  }

  function valueFormula(plain) {
    if (!plain.formula) return '<p class="dim">This operation gives no formula.</p>';
    return `<div class="formula">${formulaHTML(app.tape, plain, plain.formula.value)}</div>`;
  }

  function argumentLines(plain) {
    return plain.inputs.map((ref, k) => {
      const given = plain.args[k], name = plain.argNames[k] ?? `argument ${k}`;
      if (given === null || given === undefined) return "";
      const kept = plain.saved.includes(name);
      const content = given.number !== undefined ? numberHTML(held(given.number), `${kept ? "saved" : "argument"}:${name}`) : array(given, `${kept ? "saved" : "argument"}:${name}`);
      const called = ref ? link(ref) : `<span class="dim">constant ${escaped(constantName(plain, k))}</span>`;
      return line(`${called}${kept ? '<span class="kept">kept</span>' : ""}`, content);
    }).join("");
  }

  function moreLines(plain) {
    return Object.entries(plain.more).map(([name, value]) => line(`<span class="dim">${escaped(name)}</span><span class="kept">kept</span>`, array(value, `saved:${name}`))).join("");
  }

  function keptLine(plain) {
    if (!plain.bytes && !plain.saved.length) return '<p class="dim">It keeps nothing for the way back.</p>';
    const own = plain.saved.includes("y") ? "its own result" : null;
    const rest = plain.saved.filter(name => name !== "y").map(name => {
      const k = plain.argNames.indexOf(name);
      return plain.inputs[k] ? link(plain.inputs[k]) : `<span class="dim">${escaped(k < 0 ? name : constantName(plain, k))}</span>`;
    });
    const what = [own, ...rest].filter(Boolean);
    return `<p class="dim">It keeps ${what.length ? what.join(" and ") : "what its kernel needs"} for the way back: ${plain.bytes.toLocaleString("en")} bytes.</p>`;
  }

  function expansionButton(plain) {
    const inner = app.tape.expansion(plain);
    return inner ? `<p><button id="open" data-open="${plain.number}">Open this record: ${inner.records.length} operations inside <kbd>o</kbd></button></p>` : "";
  }

  function innerFormulas(plain) {
    if (!plain.formula?.inner.length) return "";
    return `<details${opened.get("inner") ? " open" : ""} id="inner"><summary>the cotangents of its inner values</summary><div class="formula">${formulaHTML(app.tape, plain, plain.formula.inner)}</div></details>`;
  }

  // forward: the record that was computed last
  function drawForward() {
    const plain = app.record;
    if (!plain) {
      stepCard.innerHTML = `<p class="lead">Nothing is computed yet. Press <kbd>→</kbd> to compute the first of ${app.tape.records.length} records.</p>`;
      return;
    }
    stepCard.innerHTML = heading(plain) + valueFormula(plain) + argumentLines(plain) +
      resultLine(plain) + moreLines(plain) + keptLine(plain) + usesLine(plain) + expansionButton(plain);
  }

  function resultName(plain, over = "") {
    const [name, time] = shortName(app.tape, {kind: "record", number: plain.number, output: 0});
    return `<b class="${over}">${escaped(name)}</b>${time === "" ? "" : `<sub>${time}</sub>`}`;
  }

  // the norm of a table of numbers; what is shown in short has it
  const sizeBeside = value => normBeside(app.tape.array(value));
  function normBeside(found) {
    return found?.whole && found.size > 1 && found.size <= WHOLE && !app.hides ? ` <span class="dim">norm ${brief(found.norm)}</span>` : "";
  }

  const resultLine = plain => line(`${resultName(plain)} value${plain.saved.includes("y") ? '<span class="kept">kept</span>' : ""}`,
    array(plain.value, app.mode === "backward" && plain.saved.includes("y") ? "saved:y" : "value"));

  function usesLine(plain) {
    const users = app.users(plain.number);
    if (!users.length) return '<p class="dim">Nothing on this tape uses it.</p>';
    return `<p class="dim">Used by ${some(users, 6, number => link({...record(number), output: 0}))}.</p>`;
  }

  const some = (list, count = 6, text = item => item) =>
    list.slice(0, count).map(text).join(", ") + (list.length > count ? ` and ${list.length - count} more` : "");

  function why(step) {
    const path = pathOf(app.sweep), ended = path.visited[step.number];
    const from = [];
    for (const entry of ended) for (const number of entry.steps) from.push(app.sweep.steps[number].target);
    if (!from.length) return ended.length ? '<p class="why">The sweep starts here: this cotangent was given.</p>' : "";
    const what = from.length === 1 ? "The only contribution to it has" : `All ${from.length} contributions to it have`;
    const unique = [...new Set(from.map(target => link(target)))];
    const newest = step.target.kind === "record" ? " Of what waited, it was recorded last, so whatever used it has been visited." :
      step.target.kind === "leaf" ? " Its sum is complete." : "";
    return `<p class="why">${what} arrived, from ${some(unique, 5)}.${newest}</p>`;
  }

  function contributionHTML(plain, step, c, k) {
    const path = pathOf(app.sweep), [entry, index] = path.entryOf(c);
    const single = plain && (plain.name === "matmul" ? [plain, ...plain.args.map(shapeOf)].every(({shape}) => shape.length < 3) :
      String(shapeOf(c.value).shape) === String(plain.shape));
    const equations = plain?.formula?.[single ? "alone" : "vjps"][c.position];
    const before = path.sum(entry, index), after = path.sum(entry, index + 1), now = app.tape.array(c.value);
    const others = entry.expected > 1 ? `${index + 1} of ${entry.expected}` : "the only one";
    let sum = "";
    if (index || entry.seeded) {
      sum = `<div class="sum"><div><span class="what">was there</span>${before ? arrayHTML(before, `before:${k}`) : '<span class="dim">not kept</span>'}</div>` +
        `<span class="sign">+</span><div><span class="what">this</span>${arrayHTML(now, `contribution:${k}`)}</div>` +
        `<span class="sign">=</span><div><span class="what">now</span>${after ? arrayHTML(after, `after:${k}`) : '<span class="dim">not kept</span>'}</div></div>`;
    } else sum = `<div class="sum"><div>${arrayHTML(now, `contribution:${k}`)}</div></div>`;
    const same = step.contributions.filter(other => keyOf(other.target, app.tape) === keyOf(c.target, app.tape)).length > 1 ? `, argument ${c.position + 1}` : "";
    return `<li class="contribution" data-k="${k}"><div class="to">to ${link(c.target)} <span class="dim">${others}${same}</span></div>` +
      (equations ? `<div class="formula">${formulaHTML(app.tape, plain, equations, true)}</div>` : plain?.formula ? "" : '<p class="dim">This vjp has no formula.</p>') + `${sum}</li>`;
  }

  function drawBackward() {
    const {step, sweep, tape} = app;
    if (!sweep) {
      stepCard.innerHTML = '<p class="lead">This tape has watched no backward pass.</p>';
      return;
    }
    if (!step) {
      const seeds = pathOf(sweep).seeds.slice(0, 8).map(entry => line(link(entry.target), arrayHTML(tape.array(entry.seed), `waiting:${entry.key}`))).join("");
      stepCard.innerHTML = `<p class="lead">The sweep has not begun. It starts from the cotangent${seeds.includes("</div><div class=\"line\"") ? "s" : ""} that ${sweep.kind === "backward" ? "<code>backward()</code>" : "<code>grad()</code>"} was given:</p>${seeds}<p class="lead">Press <kbd>→</kbd> for the first of ${sweep.steps.length} steps.</p>`;
      return;
    }
    const plain = app.record, failed = sweep.error && step.number === sweep.steps.length - 1 ? `<p class="failed">The sweep ended here: ${escaped(sweep.error)}</p>` : "";
    if (step.target.kind === "leaf") {
      const leaf = tape.leaves[step.target.number], grad = pathOf(sweep).grads.get(leaf.number);
      const before = grad?.before;
      stepCard.innerHTML = `<h3 class="op">${link(step.target)} <span class="dim">a leaf of ${leaf.dtype} ${shapeText(leaf)}</span></h3>${why(step)}` +
        line(`<span class="bar">${escaped(leaf.name)}</span>`, array(step.cotangent, "cotangent")) +
        (before ? line("in .grad before", arrayHTML(before, `earlier:${leaf.name}`)) : "") +
        `<p>${sweep.kind === "backward" ? `This sum goes into <code>${escaped(leaf.name)}.grad</code>${before ? ", to what earlier sweeps left there (unless it was cleared in between, which a tape does not see)" : ""}.` : "This sum is what <code>grad()</code> returns."}</p>` + failed;
      return;
    }
    if (!plain) {
      stepCard.innerHTML = `<h3 class="op">${link(step.target)}</h3><p>It was recorded before this tape was opened.</p>${why(step)}` + line("cotangent", array(step.cotangent, "cotangent")) + passes(null, step) + failed;
      return;
    }
    const depth = step.depth ? `<p class="dim">A sweep within the sweep (depth ${step.depth}).</p>` : "";
    stepCard.innerHTML = heading(plain) + depth + why(step) + valueFormula(plain) +
      resultLine(plain) + line(`${resultName(plain, "bar")} cotangent`, array(step.cotangent, "cotangent") + sizeBeside(step.cotangent)) +
      `<details id="args"${opened.get("args") ? " open" : ""}><summary>arguments and what was kept of them</summary>${argumentLines(plain)}${moreLines(plain)}${keptLine(plain)}</details>` +
      innerFormulas(plain) + expansionButton(plain) + passes(plain, step) + failed;
  }

  function passes(plain, step) {
    if (!step.contributions.length) return '<p class="dim">It passes nothing on.</p>';
    return `<h4>passes on</h4><ol class="contributions">${step.contributions.map((c, k) => contributionHTML(plain, step, c, k)).join("")}</ol>`;
  }

  const dots = (arrived, expected) => expected <= 8 ? `<span class="dots" aria-hidden="true">${"●".repeat(arrived)}${"○".repeat(expected - arrived)}</span> ` : "";

  function drawWaiting() {
    if (app.mode === "forward" || !app.sweep) {
      waitCard.hidden = true;
      return;
    }
    waitCard.hidden = false;
    const {waiting} = moment(app.sweep, app.at), {tape, sweep} = app;
    const age = entry => entry.target.kind === "record" ? entry.target.number + 1 : -1;
    const list = [...waiting.values()].sort((a, b) => a.visit - b.visit || age(b) - age(a));
    const rows = [], zeros = [];
    let shown = 0;
    for (const entry of list) {
      const value = shown < 200 ? entry.value : null;
      if (value && value.norm === 0 && shown > 0 && entry.target.kind === "record") {
        zeros.push(entry);
        continue;
      }
      shown++;
      if (rows.length >= SHOWN && !everything) continue;
      const {arrived, expected} = entry, next = entry.visit === app.at;
      const missing = entry.missing;
      const text = expected ? `${dots(arrived, expected)}${arrived} of ${expected}${entry.seeded ? " and the start" : ""}` : "given";
      rows.push([entry.key, next ? "next" : "", `<th scope="row">${link(entry.target)}</th><td>${text}</td><td>${arrayHTML(value, `waiting:${entry.key}`, true)}</td>` +
        `<td>${next ? "<b>next</b>" : missing.length ? `waits for ${some(missing, 2, number => link(sweep.steps[number].target))}` : '<span class="dim">complete</span>'}</td>`]);
    }
    const more = shown - rows.length;
    const fold = zeros.length ? `<p class="dim" id="zeros">and ${zeros.length} whose sum so far is exactly 0: ${some(zeros, 3, entry => link(entry.target))}</p>` : "";
    const table = document.getElementById("waits");
    table.hidden = !list.length;
    patch(table.tBodies[0], "tr", rows);
    document.getElementById("waitmore").innerHTML = list.length ?
      (more || everything ? `<p><button class="mini" id="more">${everything ? "fewer" : `${more} more`}</button></p>` : "") + fold :
      `<p class="dim">Nothing waits: ${app.at >= sweep.steps.length ? "the sweep is over" : "empty"}.</p>`;
    document.getElementById("waitcount").textContent = list.length;
  }

  function shareRow(grad, k, largest, final) {
    const share = grad.shares[k], value = app.tape.array(share.value), size = sizeOf(value);
    const part = final?.whole && !Array.isArray(value) && final.norm > 0 ? dot(value, final) : null;
    const ratio = part === null ? null : part / final.norm ** 2;
    const from = share.record === null ? '<span class="dim">earlier</span>' : link({kind: "record", number: share.record, output: 0});
    const notes = [size === largest.size && grad.shares.length > 1 && k === largest.k && "largest", grad.silent?.[k] && "below the rounding of the sum: changes no bit", size === 0 && "exactly 0",
      share.through.length && `by way of ${share.through.map(escaped).join(", ")}`, share.step === app.at - 1 && "now"];
    return `<tr class="${share.step === app.at - 1 ? "now" : ""}" data-of="${escaped(`share:${grad.leaf.name}:${k}`)}"><th scope="row">${from}</th>` +
      `<td class="barcell"><i style="width:${largest.size > 0 && size < Infinity ? Math.max(0.5, 100 * size / largest.size) : 0}%"></i></td>` +
      `<td>${numberHTML(size)}</td><td>${percent(ratio)}</td><td>${cosineText(cosine(value, final))}</td><td class="dim">${notes.filter(Boolean).join("; ")}</td></tr>`;
  }

  const counted = count => `${count} share${count === 1 ? "" : "s"}`;
  const cosineText = x => x === null ? "" : x.toFixed(Math.abs(x) > 0.995 && Math.abs(x) < 1 ? 4 : 2).replace("-", "−");

  function gradHTML(grad) {
    const {leaf, shares} = grad, {arrived} = grad, done = grad.entry.visit < app.at, sum = grad.sum, final = grad.final;
    const largest = {size: -1, k: -1};
    grad.sizes ??= shares.map(share => sizeOf(app.tape.array(share.value)));
    grad.sizes.forEach((size, k) => { if (size > largest.size) { largest.size = size; largest.k = k; } });
    const touched = shares[arrived - 1]?.step === app.at - 1 || grad.entry.visit === app.at - 1;
    const open = opened.get(leaf.number) ?? (app.tape.leaves.length <= 4 || touched);
    const close = cosine(sum, final);
    const most = largest.k >= 0 && shares[largest.k].record, part = app.hides || shares.length < 2 || most === null || most === false ? "" :
      `; the largest share came from ${shortName(app.tape, {...record(most), output: 0}).map((text, k) => k && text !== "" ? `<sub>${text}</sub>` : escaped(text)).join("")}`;
    const state = done ? `complete${part}` : arrived ? `${arrived} of ${counted(shares.length)}` : `none of ${counted(shares.length)} yet`;
    const head = `<summary><b>${escaped(leaf.name)}</b>.grad <span class="dim">${state}${close !== null && !done && arrived && arrived < shares.length ? `, cosine with the final one ${cosineText(close)}` : ""}</span></summary>`;
    if (!open) return `<details data-leaf="${leaf.number}">${head}</details>`;
    const list = Array.from({length: arrived}, (_, k) => arrived - 1 - k), wide = opened.get(`all${leaf.number}`);
    const rows = wide ? list : list.slice(0, RECENT);
    if (!wide && largest.k < arrived && largest.k >= 0 && !rows.includes(largest.k)) rows.push(largest.k);
    const onway = shares.slice(0, arrived).filter(share => share.through.length).length && !done ? '<p class="dim">Shares that came by way of a view wait there, and are in the sum once the view is visited.</p>' : "";
    const body = arrived ? `<div class="line"><span class="what">${done ? "the sum" : "sum so far"}</span><div class="much">${arrayHTML(sum, `grad:${leaf.name}`)}${normBeside(sum)}</div></div>` +
      `<table class="shares"><thead><tr><th scope="col">use in</th><th scope="col">size</th><th scope="col">norm</th><th scope="col" title="its part of the final sum, along the direction of that: these add up to 100 %">of the sum</th><th scope="col" title="cosine with the final gradient">cosine</th><th scope="col" class="unseen">notes</th></tr></thead><tbody>${rows.map(k => shareRow(grad, k, largest, final)).join("")}</tbody></table>` +
      (arrived > RECENT + 1 ? `<p><button class="mini" data-all="${leaf.number}">${wide ? "the latest alone" : `all ${arrived}`}</button></p>` : "") + onway : "";
    return `<details open data-leaf="${leaf.number}">${head}${body}</details>`;
  }

  function drawGrads() {
    if (app.mode === "forward" || !app.sweep) {
      gradCard.hidden = true;
      return;
    }
    gradCard.hidden = false;
    const {grads} = moment(app.sweep, app.at);
    const order = app.tape.layout.leaves.map(number => grads.get(number)).filter(Boolean);
    patch(document.getElementById("gradbody"), "div", order.length ? order.map(grad => [String(grad.leaf.number), "grad", gradHTML(grad)]) :
      [["none", "dim", "No leaf gets a gradient from this sweep."]]);
  }

  function render() {
    document.getElementById("stephead").textContent = app.mode === "forward" ? "This record" : "This step";
    if (app.mode === "forward") drawForward(); else drawBackward();
    drawWaiting();
    drawGrads();
  }

  const right = document.getElementById("right");
  right.addEventListener("click", event => {
    const button = event.target.closest("button, summary");
    if (!button) return;
    const {entries, open, all: whole} = button.dataset;
    if (entries !== undefined) {
      if (windows.has(entries)) windows.delete(entries); else windows.set(entries, {});
      render();
      right.querySelector(`[data-entries="${CSS.escape(entries)}"]`)?.focus();
    } else if (open !== undefined) app.open(Number(open));
    else if (button.id === "more") {
      everything = !everything;
      drawWaiting();
      document.getElementById("more")?.focus();
    } else if (whole !== undefined) {
      opened.set(`all${whole}`, !opened.get(`all${whole}`));
      drawGrads();
      right.querySelector(`[data-all="${whole}"]`)?.focus();
    } else if (button.tagName === "SUMMARY") {
      const {leaf} = button.parentElement.dataset;
      if (leaf === undefined) opened.set(button.parentElement.id, !button.parentElement.open);
      else {
        event.preventDefault();
        opened.set(Number(leaf), !button.parentElement.open);
        drawGrads();
        right.querySelector(`[data-leaf="${leaf}"] summary`)?.focus();
      }
    }
  });
  right.addEventListener("change", event => {
    const {axis} = event.target.dataset, frame = event.target.closest("[data-window]");
    if (axis === undefined || !frame) return;
    const of = frame.dataset.window, place = [...frame.querySelectorAll("input")].map(input => Math.max(0, Math.floor(Number(input.value)) || 0));
    windows.set(of, {place});
    render();
    right.querySelector(`[data-window="${CSS.escape(of)}"] [data-axis="${axis}"]`)?.focus();
  });
  return {render};
}
