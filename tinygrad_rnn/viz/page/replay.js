// Replay: the forward pass and every sweep of the tape, computed again in the page from leaves and constants.
//
// Gives: `replay(tape)`, which compares, and its `.changed(change)`, which answers "what if":
//
//   base = replay(tape)
//   base.refusal             a sentence that says why this tape cannot be replayed, or null
//   base.unknown             Map: a primitive that has no rule here -> why; its results are taken from the tape
//   base.difference          the largest difference to the tape: of an entry, or relative to its array's largest above 1
//   base.where               where that is: {record} or {sweep, step, contribution}
//   base.changed({leaves: {"0,0": array}, constants: {"4,1": array}, mistake}).tape()
//                            a tape in the form of data.js whose numbers follow the change; by number of leaf and
//                            version, and by number of record and position.  `.tape(true)`: the differences instead
//   replay.rules(build)      adds rules (rules_*.js): of those files a page has the ones that its tape needs
//
// Arithmetic is that of float64, rounded to the dtype in hand after each operation.  Arrays are contiguous; what NumPy
// does by strides is done by lists of places: `at[k]` is where entry k of a view stands in memory.  Reading there and
// adding there are adjoint to each other, so one list serves a view, a broadcast and a sum, forward and backward.

const replay = (() => {
  // arrays -----------------------------------------------------------------------------------------------------------

  const toHalf = Math.f16round ?? (x => {
    const size = Math.abs(x);
    if (!(size < 65520)) return x === x ? Math.sign(x) * Infinity : x;
    const shift = 2 ** Math.max(-24, Math.floor(Math.log2(size)) - 10) * 6755399441055744;
    return x + shift - shift || x * 0; // so many digits are lost in the sum that those of a float16 are left
  });
  const itself = x => x;
  const rounding = dtype => (dtype === "float16" ? toHalf : dtype === "float32" ? Math.fround : itself);
  // Within an operation of several steps half precision is rounded once, at the end; but these round at each step.
  const STEPWISE = new Set(["cos", "cosh", "expm1", "hardsigmoid", "lerp", "log1p", "reciprocal", "sin", "sinh"]);
  // These are rounded after the sum over what was broadcast, others before it.
  const SUMS_FIRST = new Set(["atan2", "binary_cross_entropy", "hypot", "logaddexp", "pow"]);
  let now = itself;
  const r = x => now(x); // rounds within the operation that runs

  const count = shape => shape.reduce((n, k) => n * k, 1);
  const alike = (a, b) => a.length === b.length && a.every((n, k) => n === b[k]);
  const range = (n, step = 1) => Array.from({length: n}, (_, k) => k * step);
  const strides = shape => shape.map((_, k) => count(shape.slice(k + 1)));
  const array = (shape, dtype, data) => ({shape, dtype, whole: true,
    data: data ?? new (dtype === "float32" ? Float32Array : Float64Array)(count(shape))});
  const number = x => array([], "number", [x]);
  const reshaped = ({dtype, data}, shape) => array(shape, dtype, data);
  const filled = (shape, dtype, f) => {
    const y = array(shape, dtype), round = dtype === "float16" ? toHalf : itself;
    for (let k = 0; k < y.data.length; k++) y.data[k] = round(f(k));
    return y;
  };
  const as = (a, dtype) => a && filled(a.shape, dtype, k => a.data[k]);

  function outer(parts, start = 0) { // places from lists of steps, one for each axis, the last the fastest
    let at = Int32Array.of(start);
    for (const part of parts) {
      const next = new Int32Array(at.length * part.length);
      let k = 0;
      for (const i of at) for (const j of part) next[k++] = i + j;
      at = next;
    }
    return at;
  }
  const steps = shape => strides(shape).map((s, k) => range(shape[k], s)); // of an array itself
  const spreads = new Map();
  function spread(shape, to) { // for every entry of the shape `to`, the one that is broadcast there
    const key = `${shape}:${to}`;
    if (!spreads.has(key)) {
      if (spreads.size > 500) spreads.clear();
      const lead = to.length - shape.length, s = strides(shape);
      spreads.set(key, outer(to.map((n, k) => range(n, k < lead || shape[k - lead] === 1 ? 0 : s[k - lead]))));
    }
    return spreads.get(key);
  }
  const taken = (a, at, shape) => filled(shape, a.dtype, k => a.data[at[k]]);
  function laid(g, at, shape) { // zeros with every entry added at its place
    const total = new Float64Array(count(shape));
    for (let k = 0; k < at.length; k++) total[at[k]] += g.data[k];
    return filled(shape, g.dtype, k => total[k]);
  }
  function summedTo(g, shape) {
    if (alike(g.shape, shape)) return g;
    return shape.length > g.shape.length ? reshaped(g, shape) : laid(g, spread(shape, g.shape), shape);
  }
  const common = shapes => {
    const ndim = Math.max(0, ...shapes.map(s => s.length)), joint = (m, n) => (n === 1 ? m : n);
    return range(ndim).map(k => shapes.map(s => s[k + s.length - ndim] ?? 1).reduce(joint, 1));
  };
  function elementwise(f, dtype, args, shape = common(args.filter(Boolean).map(a => a.shape))) {
    const [a, b, c, d, e] = range(5).map(k => {
      if (!args[k]) return () => undefined;
      const {data} = args[k], at = alike(args[k].shape, shape) ? null : spread(args[k].shape, shape);
      return at ? j => data[at[j]] : j => data[j];
    });
    return filled(shape, dtype, k => f(a(k), b(k), c(k), d(k), e(k)));
  }
  const added = (a, b) => elementwise((x, y) => x + y, a.dtype, [a, b]);

  // Products of two operands, summed over the letters that the result lacks, or has in size 1.
  function contracted(a, left, b, right, to, shape) {
    const size = {};
    for (const [x, letters] of [[a, left], [b, right]])
      letters.forEach((c, k) => { size[c] = x.shape[k] === 1 ? size[c] ?? 1 : x.shape[k]; });
    const summed = Object.keys(size).filter(c => !to.includes(c) || shape[to.indexOf(c)] !== size[c]);
    const places = (x, letters, along, sizes) => outer(along.map((c, i) => {
      const k = letters.indexOf(c);
      return range(sizes[i], k < 0 || x.shape[k] === 1 ? 0 : strides(x.shape)[k]);
    }));
    const lengths = summed.map(c => size[c]), x = a.data, y = b.data;
    const [ao, bo] = [places(a, left, to, shape), places(b, right, to, shape)];
    const [as, bs] = [places(a, left, summed, lengths), places(b, right, summed, lengths)];
    return filled(shape, a.dtype, o => {
      let total = 0;
      for (let k = 0, i = ao[o], j = bo[o]; k < as.length; k++) total += x[i + as[k]] * y[j + bs[k]];
      return total;
    });
  }

  // rules ------------------------------------------------------------------------------------------------------------
  //
  // By name {f, b, several}: f(args, dtype, p) is the value, p the keywords; b(g, y, args, p, needs) the contributions;
  // several: the value is a list.  Three kinds are made from less:
  //   elementwise   [value, vjp of each argument (g, y, a, b, c)], one entry at a time, or a function of p that gives this
  //   views         (shape, p) -> [shape of the result, place in the argument of each of its entries]
  //   adjoints      the name of the view whose vjp it is

  const RULES = {}, VIEWS = {};
  function rules(build) {
    const {elementwise: rows = {}, extra = {}, views = {}, adjoints = {}, whole = {}, tools} = build(kit);
    Object.assign(kit, tools);
    for (const [name, row] of Object.entries(rows)) {
      const given = (args, p) => (extra[name] ? [args[0], p[extra[name]].data ? p[extra[name]] : number(p[extra[name]])] : args);
      const of = p => (Array.isArray(row) ? row : row(p));
      RULES[name] = {
        entrywise: true,
        f: (args, dtype, p) => elementwise(of(p)[0], dtype, given(args, p)),
        b: (g, y, args, p, needs) => of(p).slice(1).map((vjp, k) => {
          if (!vjp || !needs[k]) return null;
          const wide = g.dtype === "float16" && (SUMS_FIRST.has(name) || (name === "div" && k)) ? "float32" : g.dtype;
          return as(summedTo(elementwise(vjp, wide, [g, y, ...given(args, p)], g.shape), args[k].shape), g.dtype);
        }),
      };
    }
    Object.assign(VIEWS, views);
    for (const [name, view] of Object.entries(views))
      RULES[name] = {
        f: ([a], dtype, p) => { const [shape, at] = view(a.shape, p); return at ? taken(a, at, shape) : reshaped(a, shape); },
        b: (g, y, [a], p) => { const at = view(a.shape, p)[1]; return [at ? laid(g, at, a.shape) : reshaped(g, a.shape)]; },
      };
    for (const [name, view] of Object.entries(adjoints))
      RULES[name] = {
        f: ([a], dtype, p) => {
          const at = VIEWS[view](p.shape, p)[1], y = laid(a, at, p.shape), there = p.fill && new Set(at);
          if (there) y.data.forEach((_, k) => { if (!there.has(k)) y.data[k] = p.fill; });
          return y;
        },
        b: (g, y, [a], p) => [taken(g, VIEWS[view](p.shape, p)[1], a.shape)],
      };
    Object.assign(RULES, whole);
  }
  function within(name, dtype, f) { // runs a rule, with its rounding
    const before = now;
    now = rounding(dtype === "float16" && !STEPWISE.has(name) ? "float32" : dtype);
    try { return f(RULES[name]); } finally { now = before; }
  }
  const list = x => (Array.isArray(x) ? x : [x]);
  const typeOf = args => args.find(a => a && a.dtype !== "number" && a.dtype !== "bool")?.dtype;
  const valued = (name, args, p, dtype = typeOf(args)) => within(name, dtype, rule => rule.f(args, dtype, p));
  const pulled = (name, g, y, args, p, needs) =>
    within(name, list(g).find(Boolean).dtype, rule => rule.b(g, y, args, p, needs));

  // axes ---------------------------------------------------------------------------------------------------------

  const axes = p => p.axes ?? [p.dim];
  const groups = (a, over) => { // the shape with these axes in size 1, and the place there of every entry
    const kept = a.shape.map((n, k) => (over.includes(k) ? 1 : n));
    return [kept, spread(kept, a.shape)];
  };
  function folded(a, over, f, start) {
    const [kept, at] = groups(a, over), total = new Float64Array(count(kept)).fill(start);
    for (let k = 0; k < at.length; k++) total[at[k]] = f(total[at[k]], a.data[k]);
    return array(kept, "float64", total);
  }
  const sums = (a, over) => folded(a, over, (x, y) => x + y, 0);
  const size = (a, p) => count(axes(p).map(k => a.shape[k])) || NaN;
  const rounded = (a, f) => array(a.shape, a.dtype, Float64Array.from(a.data, x => r(f(x))));
  const out = (a, dtype, p) => reshaped(as(a, dtype), p.keepdims ? a.shape : a.shape.filter((_, k) => !axes(p).includes(k)));
  const back = (g, a, p, f) => elementwise(f, g.dtype, [reshaped(g, groups(a, axes(p))[0]), a], a.shape);

  // the commonest ----------------------------------------------------------------------------------------------------

  const zero = () => 0;
  const sign = a => Math.sign(a) || 0;
  const power = (a, b) => (b === 0 || a === 1 ? 1 : a ** b);
  const sigmoid = a => r(1 / r(1 + r(Math.exp(-a))));
  const better = (f, worse) => { // at a tie each gets half
    const to = (g, a, b) => (a === b ? g * 0.5 : worse(a, b) ? 0 : g);
    return [(a, b) => f(a, b), (g, y, a, b) => to(g, a, b), (g, y, a, b) => to(g, b, a)];
  };
  const batch = n => range(n).map(k => `batch ${n - k}`);
  const matrices = (a, b) => { // the letters of a matrix product
    const m = a.shape.length, n = b.shape.length;
    return [
      m > 1 ? [...batch(m - 2), "i", "k"] : ["k"], n > 1 ? [...batch(n - 2), "k", "j"] : ["k"],
      [...batch(Math.max(m, n, 2) - 2), ...(m > 1 ? ["i"] : []), ...(n > 1 ? ["j"] : [])],
    ];
  };
  const rows = (x, last) => [...batch(x.shape.length - 1), last];
  const kit = {r, itself, zero, sign, power, sigmoid, rounding, count, alike, range, list, strides, array, number, reshaped, as,
    filled, outer, steps, spread, taken, laid, summedTo, elementwise, added, contracted, axes, groups, folded, sums, size, rounded,
    out, valued, pulled, view: (name, shape, p) => VIEWS[name](shape, p)};

  rules(() => ({
    elementwise: {
      add: [(a, b) => a + b, itself, itself],
      div: [(a, b) => a / b, (g, y, a, b) => g / b, (g, y, a, b) => r(-g * r(a / b)) / b],
      exp: [Math.exp, (g, y) => g * y],
      log: [Math.log, (g, y, a) => g / a],
      maximum: better(Math.max, (a, b) => a < b),
      minimum: better(Math.min, (a, b) => a > b),
      mul: [(a, b) => a * b, (g, y, a, b) => g * b, (g, y, a) => g * a],
      neg: [a => -a, g => -g],
      pow_number: ({exponent: n}) =>
        [a => power(a, r(n)), (g, y, a) => (n === 0 ? 0 : g * r(n * r(power(a, r(n - 1)))))],
      relu: [a => (a <= 0 ? 0 : a), (g, y) => (y <= 0 ? 0 : g)],
      sigmoid: [sigmoid, (g, y) => g * r(y * r(1 - y))],
      sqrt: [Math.sqrt, (g, y) => g / (2 * y)],
      square: [a => a * a, (g, y, a) => g * (2 * a)],
      squared_error: [d => d * d, (g, y, d) => r(g * 2) * d],
      sub: [(a, b) => a - b, itself, g => -g],
      tanh: [Math.tanh, (g, y) => g - r(r(g * y) * y)],
      where: [(c, a, b) => (c ? a : b), null, (g, y, c) => (c ? g : 0), (g, y, c) => (c ? 0 : g)],
    },
    whole: {
      linear: {
        f: ([x, w, bias]) => {
          const y = contracted(x, rows(x, "i"), w, ["o", "i"], rows(x, "o"), [...x.shape.slice(0, -1), w.shape[0]]);
          return bias ? added(y, bias) : y;
        },
        b: (g, y, [x, w, bias], p, needs) => [
          needs[0] && contracted(g, rows(x, "o"), w, ["o", "i"], rows(x, "i"), x.shape),
          needs[1] && contracted(g, rows(x, "o"), x, rows(x, "i"), ["o", "i"], w.shape),
          needs[2] && bias && summedTo(g, bias.shape),
        ],
      },
      matmul: {
        f: ([a, b]) => {
          const [left, right, to] = matrices(a, b), of = (x, letters, c) => x.shape[letters.indexOf(c)] ?? 1;
          const shape = to.map(c => [of(a, left, c), of(b, right, c)]).map(([m, n]) => (n === 1 ? m : n));
          return contracted(a, left, b, right, to, shape);
        },
        b: (g, y, [a, b], p, needs) => {
          const [left, right, to] = matrices(a, b);
          return [needs[0] && contracted(g, to, b, right, left, a.shape), needs[1] && contracted(g, to, a, left, right, b.shape)];
        },
      },
      mean: {
        f: ([a], dtype, p) => out(rounded(sums(a, axes(p)), x => r(x) / size(a, p)), dtype, p),
        b: (g, y, [a], p) => { const n = r(1 / size(a, p)); return [back(g, a, p, h => h * n)]; },
      },
      sum: {f: ([a], dtype, p) => out(sums(a, axes(p)), dtype, p), b: (g, y, [a], p) => [back(g, a, p, itself)]},
    },
  }));

  // the tape ---------------------------------------------------------------------------------------------------------

  // A cotangent that is further from the sum of what arrived is one that a sweep started from, or that a hook changed.
  const NEAR = {float16: 2e-2, float32: 1e-5};
  const LAST_BITS = {float16: 2 ** -9, float32: 2 ** -21, float64: 2 ** -50};
  const place = ({kind, number}) => kind + number;
  const largest = a => a.data.reduce((m, x) => Math.max(m, Number.isFinite(x) ? Math.abs(x) : 0), 0);
  const equal = (a, b) => a === b || (a?.dtype === "number" && b?.dtype === "number" && Object.is(a.data[0], b.data[0]));
  const unmoved = (a, b) => list(a).every((x, k) => equal(x, list(b)[k]));

  function gap(a, b) { // the largest difference of two arrays; equal infinities and two nans do not differ
    let most = 0;
    for (let k = 0; k < b.data.length; k++) {
      const x = a.data[k], y = b.data[k];
      if (x !== y && (x === x || y === y)) most = Math.max(most, Number.isFinite(x - y) ? Math.abs(x - y) : Infinity);
    }
    return most;
  }

  function reading(tape) { // arrays and keywords of a tape; an array that occurs again is the same object
    const integers = new WeakMap();
    const numeric = a => {
      if (!a || a.whole === false || a.dtype.startsWith("complex")) return null;
      if (typeof a.data[0] !== "bigint") return a;
      if (!integers.has(a)) integers.set(a, array(a.shape, a.dtype, Float64Array.from(a.data, Number)));
      return integers.get(a);
    };
    const value = v => (v == null ? null : Array.isArray(v) ? v.map(value) : numeric(tape.array(v)));
    const fields = x => Object.fromEntries(Object.entries(x).map(([name, v]) => [name, plain(v)]));
    const plain = x => {
      if (Array.isArray(x)) return x.map(plain);
      if (x === null || typeof x !== "object") return x;
      const [kind, held] = Object.entries(x)[0] ?? [];
      if (kind === "tuple") return held.map(plain);
      if (kind === "array") return value(held);
      if (kind === "dict") return fields(held);
      if (kind === "dtype") return held;
      if (kind === "float" || kind === "int") return Number(held.replace("inf", "Infinity"));
      return fields(x);
    };
    return {value, plain, keywords: record => fields(record.params ?? {})};
  }

  // One run over the tape: the first (base is null) compares, a later one computes what a change moves, and nothing else:
  // what did not move is the same object as in the first.  null is what cannot be known any more.
  function compute(tape, base, change) {
    const read = base?.read ?? reading(tape), unknown = base?.unknown ?? new Map(), blocked = base?.blocked ?? [];
    const keywords = base?.keywords ?? tape.records.map(read.keywords);
    const values = [], operands = [], sweeps = [], origins = new Map();
    const run = {tape, read, unknown, blocked, keywords, values, operands, sweeps, difference: 0, where: null, compared: 0};

    const giveUp = (n, why) => {
      const {name} = tape.records[n];
      blocked[n] = true;
      if (!unknown.has(name)) unknown.set(name, why);
    };
    const compare = (found, told, where) => list(read.value(told)).forEach((x, k) => {
      const y = list(found)[k], d = x && y ? gap(y, x) / Math.max(1, largest(x)) : 0;
      if (x && y) run.compared++;
      if (!(d <= run.difference)) Object.assign(run, {difference: d, where});
    });
    // A constant that equals what was computed, entry by entry, is that without its history (`detach()`).
    const originates = (told, found) => base && list(told).forEach((v, k) => {
      if (typeof v === "number" && read.value(v)?.data.some(x => x % 1 !== 0)) origins.set(v, list(found)[k]);
    });
    run.leaf = (n, version) => change.leaves?.[`${n},${version}`] ?? read.value(tape.leaves[n].values[version]);

    function operand(record, ref, k) {
      const given = record.args[k], changed = change.constants?.[`${record.number},${k}`];
      if (changed) return changed;
      if (given?.number !== undefined) return number(rounding(record.dtype)(Number(read.plain(given.number))));
      if (ref?.kind === "record") {
        const told = list(tape.records[ref.number].value)[ref.output];
        // what differs from the record's value was written to outside of the tape
        return given == null || given === told ? list(values[ref.number])[ref.output] ?? null : read.value(given);
      }
      if (ref?.kind === "leaf") return run.leaf(ref.number, ref.version);
      return origins.has(given) ? origins.get(given) : read.value(given);
    }

    function forward(record, n) {
      const told = record.value, own = operands[n] = record.inputs.map((ref, k) => operand(record, ref, k));
      if (record.name === "setitem") own[0] ??= read.value(told); // zeros, say: what is not overwritten shows
      if (base) {
        if (unmoved(own, base.operands[n])) return base.values[n];
        if (blocked[n] || own.some((a, k) => !a && base.operands[n][k])) return null;
      } else if (!RULES[record.name]) giveUp(n, "there is no rule for it");
      else if (record.dtype.startsWith("complex")) giveUp(n, "complex numbers");
      else if (!record.args.length || own.some((a, k) => !a && (record.inputs[k] || record.args[k] != null)))
        giveUp(n, "an argument that the tape does not have");
      if (blocked[n]) return read.value(told);
      try {
        const found = valued(record.name, own, keywords[n], record.dtype), y = Array.isArray(told) ? list(found) : found;
        if (!base) {
          list(read.value(told)).forEach((x, k) => { if (x && !alike(list(y)[k].shape, x.shape)) throw Error("another shape"); });
          compare(y, told, {record: n});
        }
        if (RULES[record.name].entrywise && own.length === 1) settle(y, own[0], base?.operands[n][0], base?.values[n] ?? read.value(told));
        return y;
      } catch (error) {
        if (!base) giveUp(n, error.message);
        return base ? null : read.value(told);
      }
    }

    // The last bits of tanh are the machine's.  Where these alone differ, the tape's are taken, and again where a change
    // leaves the argument as it was; else they would add up over a hundred time steps, always in one direction.
    function settle(y, a, was, told) {
      const near = LAST_BITS[y.dtype];
      told?.data.forEach((x, k) => {
        if (base ? was?.data[k] === a.data[k] : Math.abs(y.data[k] - x) <= near * Math.abs(x)) y.data[k] = x;
      });
    }

    function passed(s, step, k, g, was) { // what the record of a step gives to its arguments
      const n = step.target.kind === "record" ? step.target.number : -1;
      if (base && unmoved(g, was.cotangent) && (n < 0 || unmoved(operands[n], base.operands[n]))) return was.contributions.slice();
      const told = step.contributions.map(c => (base ? null : read.value(c.value)));
      if (n < 0 || blocked[n] || !list(g).some(Boolean)) return told;
      const {name, value} = tape.records[n], one = Array.isArray(value) && !RULES[name].several, needs = [];
      step.contributions.forEach(c => { needs[c.position] = true; });
      try {
        const found = pulled(name, one ? g[0] : g, one ? values[n][0] : values[n], operands[n], keywords[n], needs);
        return step.contributions.map((c, j) => {
          const d = found[c.position];
          if (!d || (told[j] && !alike(d.shape, told[j].shape))) throw Error("its vjp");
          if (!base) compare(d, c.value, {sweep: s, step: k, contribution: j});
          return d;
        });
      } catch (error) {
        if (!base) giveUp(n, error.message);
        return told;
      }
    }

    function backward(s) {
      const totals = new Map(), steps = [];
      sweeps.push({steps});
      tape.sweeps[s].steps.forEach((step, k) => {
        const was = base?.sweeps[s].steps[k], mistake = change.mistake?.sweep === s && change.mistake.step === k ? change.mistake : {};
        if (step.depth) { // a sweep within the sweep, of a vjp that is recorded: as the tape has it
          steps.push(was ?? {cotangent: read.value(step.cotangent), contributions: step.contributions.map(c => read.value(c.value)), seeds: [], afters: []});
          return;
        }
        const arrived = totals.get(place(step.target)) ?? {sums: [], told: [], sizes: []}, seeds = was?.seeds ?? [], afters = [];
        const own = list(step.cotangent).map((told, o) => {
          const sum = arrived.sums[o];
          if (base) return arrived.lost ? null : !arrived.moved ? list(was.cotangent)[o] : seeds[o] ? added(sum, seeds[o]) : sum;
          const recorded = read.value(told);
          if (!sum || !recorded) return recorded;
          if (gap(arrived.told[o], recorded) <= (NEAR[recorded.dtype] ?? 1e-9) * arrived.sizes[o]) return sum;
          seeds[o] = elementwise((x, y) => x - y, recorded.dtype, [recorded, arrived.told[o]]);
          return added(sum, seeds[o]);
        });
        if (!base) compare(own, step.cotangent, {sweep: s, step: k});
        let cotangent = Array.isArray(step.cotangent) ? own : own[0];
        if (mistake.cotangent) cotangent = mistake.cotangent(cotangent);
        const contributions = passed(s, step, k, cotangent, was);
        if (mistake.alter) contributions[mistake.contribution] = mistake.alter(contributions[mistake.contribution]);
        step.contributions.forEach((c, j) => {
          const d = contributions[j], to = place(c.target), o = c.target.output, told = base ? null : read.value(c.value);
          if (!totals.has(to)) totals.set(to, {sums: [], told: [], sizes: []});
          const t = totals.get(to);
          if (told) [t.told[o], t.sizes[o]] = [t.told[o] ? added(t.told[o], told) : told, (t.sizes[o] ?? 0) + largest(told)];
          if (base && d !== was.contributions[j]) t.moved = true;
          if (!d) t.lost = true;
          else if (mistake.assign && mistake.contribution === j) [t.sums[o], t.moved, t.assigned] = [d, true, true];
          else t.sums[o] = t.sums[o] ? added(t.sums[o], d) : d;
          if (t.assigned) afters[j] = t.sums[o]; // which is not the sum of what arrived
        });
        originates(step.cotangent, cotangent);
        step.contributions.forEach((c, j) => originates(c.value, contributions[j]));
        steps.push({cotangent, contributions, seeds, afters});
      });
    }

    tape.leaves.forEach((leaf, n) => leaf.values.forEach((v, version) => originates(v, run.leaf(n, version))));
    tape.records.forEach((record, n) => {
      while (sweeps.length <= (record.sweep ?? -1)) backward(sweeps.length); // what a sweep recorded comes after its steps
      values.push(forward(record, n));
      originates(record.value, values[n]);
    });
    while (sweeps.length < tape.sweeps.length) backward(sweeps.length);
    return run;
  }

  // The tape with the numbers of a later run where they moved, or how far they moved.
  function shadow(base, run, differences) {
    const {tape} = base, made = Object.create(tape, {expansion: {value: () => null}}), cache = new Map();
    const complete = a => {
      if (!a || a.size !== undefined) return a;
      Object.assign(a, {size: a.data.length, complex: false});
      return typeof measured === "function" ? measured(a) : a;
    };
    const show = (x, was) => {
      if (!differences || !x || !was) return complete(x);
      if (!cache.has(x)) cache.set(x, complete(elementwise((a, b) => (Object.is(a, b) ? 0 : a - b), x.dtype === "bool" ? "float64" : x.dtype, [x, was])));
      return cache.get(x);
    };
    const shown = (told, x, was) => {
      if (Array.isArray(told)) return told.map((v, k) => shown(v, list(x)[k] ?? null, list(was)[k] ?? null));
      return x === was && !differences ? told : show(x, was);
    };
    made.leaves = tape.leaves.map((leaf, n) => ({...leaf, values: leaf.values.map((v, k) => shown(v, run.leaf(n, k), base.leaf(n, k)))}));
    made.records = tape.records.map((record, n) => (!differences && unmoved(run.values[n], base.values[n]) && unmoved(run.operands[n], base.operands[n]) ? record : {
      ...record, value: shown(record.value, run.values[n], base.values[n]),
      args: record.args.map((v, k) => (v?.number !== undefined ? {number: (differences ? show : itself)(run.operands[n][k], base.operands[n][k]).data[0]} : shown(v, run.operands[n][k], base.operands[n][k]))),
    }));
    made.sweeps = tape.sweeps.map((sweep, s) => ({...sweep, tape: made, steps: sweep.steps.map((step, k) => {
      const now = run.sweeps[s].steps[k], was = base.sweeps[s].steps[k];
      const contributions = step.contributions.map((c, j) => {
        const value = shown(c.value, now.contributions[j], was.contributions[j]);
        return {...c, value, before: undefined, after: now.afters[j] && complete(now.afters[j])};
      });
      return {...step, cotangent: shown(step.cotangent, now.cotangent, was.cotangent), contributions};
    })}));
    made.shares = Object.fromEntries(Object.entries(tape.shares).map(([leaf, shares]) => [leaf, shares.map(share => {
      const steps = tape.sweeps[share.sweep].steps;
      const k = steps.findIndex(step => step.target.kind === "record" && step.target.number === share.record && !step.depth);
      const j = k < 0 ? -1 : steps[k].contributions.findIndex(c => c.position === share.position);
      if (j < 0) return share;
      const of = one => share.through.reduceRight((d, label) => { // by way of views
        const n = Number(label.slice(1));
        return d && !one.blocked[n] ? pulled(tape.records[n].name, d, one.values[n], one.operands[n], one.keywords[n], [true])[0] : null;
      }, one.sweeps[share.sweep].steps[k].contributions[j]);
      const same = !differences && run.sweeps[share.sweep].steps[k].contributions[j] === base.sweeps[share.sweep].steps[k].contributions[j];
      return same ? share : {...share, value: show(of(run), differences && of(base))};
    })]));
    return made;
  }

  function refusal(tape) {
    const {values} = tape, whole = v => list(v).every(x => x == null || x.number !== undefined || tape.array(x)?.whole !== false);
    if (values === "all" || values === undefined) return null;
    const all = values !== "shapes" && tape.leaves.every(leaf => leaf.values.every(whole)) &&
      tape.records.every(record => whole(record.value) && record.args.every(whole));
    return all ? null : `The tape kept ${values === "shapes" ? "no values" : `whole arrays up to ${values} entries only`}, and a replay needs all: Tape(), or explain --values all.`;
  }

  function replayed(tape) {
    const no = refusal(tape);
    if (no) return {refusal: no, unknown: new Map()};
    const base = compute(tape, null, {});
    return {...base, refusal: null, changed: change => {
      const run = compute(tape, base, change);
      return {...run, tape: (differences = false) => shadow(base, run, differences)};
    }};
  }
  return Object.assign(replayed, {rules, known: RULES, kit, gap, largest});
})();
