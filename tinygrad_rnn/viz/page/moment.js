// moment.js says what stands after n steps of a sweep.  It gives
//
//   moment(sweep, n)     {waiting: Map(key -> entry), grads: Map(leaf -> grad)}, always the same object of a sweep:
//                        it is moved to n, and costs what lies between.  n steps are done.
//   an entry             {key, target, visit, expected, arrived, missing, value, seeded}: a cotangent that is being summed
//   a grad               {leaf, entry, shares, arrived, sum, final, before}: those shares of which arrived are done
//   pathOf(sweep)        {visits: Int32Array (record -> step or -1), entries: Map, entryOf(contribution), sum(entry, count)}
//   keyOf(target)        "r12", "r12.1" (an output of several), "l0", "e5"
//
// A sum is that of contributions 0 .. count - 1.  Of each target every 32nd sum is kept, from which the next are added.

const EVERY = 32;

function keyOf(target, tape) {
  if (target.kind === "record") {
    const several = Array.isArray(tape.records[target.number].value);
    return `r${target.number}${several ? `.${target.output}` : ""}`;
  }
  return `${target.kind[0]}${target.number}${target.kind === "earlier" && target.output ? `.${target.output}` : ""}`;
}

class Path {
  constructor(tape, sweep) {
    this.tape = tape;
    this.sweep = sweep;
    this.visits = new Int32Array(tape.records.length).fill(-1);
    this.entries = new Map();
    this.places = new Map();  // contribution -> [entry, index]
    this.visited = [];  // by step the entries that end there
    this.at = 0;
    this.waiting = new Map();
    this.frames = [[0, Infinity]];
    let frames = 0, depth = 0;
    for (const {target, value} of sweep.seeds) {  // which may be several of one target
      const entry = this.entry(target, 0), seed = tape.array(value);
      entry.seed = entry.seed === undefined ? seed : added(entry.seed, seed);
    }
    for (const step of sweep.steps) {
      // a sweep within a sweep has a table of its own; one that begins again at a later record is another
      const number = step.target.kind === "record" ? step.target.number : -1;
      if (step.depth > depth || (step.depth && step.depth === depth && number > this.frames[depth][1])) {
        this.frames[step.depth] = [++frames, Infinity];
      }
      depth = step.depth;
      const frame = this.frames[depth] ??= [++frames, Infinity];
      if (number >= 0) {
        frame[1] = number;
        if (this.visits[number] < 0 || !depth) this.visits[number] = step.number;
      }
      step.frame = frame[0];
      this.visit(step);
      for (const contribution of step.contributions) {
        const entry = this.entry(contribution.target, frame[0]);
        this.places.set(contribution, [entry, entry.list.length]);
        entry.list.push(contribution);
        entry.steps.push(step.number);
      }
    }
    this.seeds = [...this.entries.values()].filter(entry => entry.seed !== undefined);
    for (const entry of this.seeds) this.waiting.set(entry.key, entry);
  }

  entry(target, frame) {
    const key = keyOf(target, this.tape) + (frame ? `@${frame}` : "");
    let found = this.entries.get(key);
    if (!found) this.entries.set(key, found = new Entry(this, key, target));
    return found;
  }

  // a step takes what waits for it: of a fused record, for each of its outputs
  visit(step) {
    const outputs = Array.isArray(step.cotangent) && step.target.kind !== "leaf" ? step.cotangent : [step.cotangent];
    const ended = [];
    outputs.forEach((cotangent, output) => {
      if (cotangent === null && outputs.length > 1) return;
      const entry = this.entry(outputs.length > 1 ? {...step.target, output} : step.target, step.frame);
      if (entry.visit < Infinity) return;
      entry.visit = step.number;
      entry.cotangent = cotangent;
      if (step.depth || !this.sweep.seeds.length) {  // a sweep within a sweep, or an old tape, does not say otherwise
        if (!entry.list.length) entry.seed = cotangent;
        else if (entry.list[0].before !== undefined && entry.list[0].before !== null) entry.seed = entry.list[0].before;
      }
      ended.push(entry);
    });
    this.visited[step.number] = ended;
  }

  entryOf(contribution) {
    return this.places.get(contribution);
  }

  move(n) {
    const {steps} = this.sweep;
    for (; this.at < n; this.at++) {
      for (const entry of this.visited[this.at]) this.waiting.delete(entry.key);
      for (const c of steps[this.at].contributions) {
        const [entry] = this.places.get(c);
        if (entry.visit > this.at) this.waiting.set(entry.key, entry);
      }
    }
    while (this.at > n) {
      this.at--;
      for (const c of steps[this.at].contributions) {
        const [entry] = this.places.get(c);
        if (entry.steps[0] >= this.at && entry.seed === undefined) this.waiting.delete(entry.key);
      }
      for (const entry of this.visited[this.at]) this.waiting.set(entry.key, entry);
    }
    return this;
  }

  // the sum of the first contributions to a target
  sum(entry, count) {
    const {tape} = this, {list} = entry;
    if (count === list.length && entry.visit < Infinity) return tape.array(entry.cotangent);
    if (count && list[count - 1].after !== undefined) return tape.array(list[count - 1].after);
    const seed = entry.seed === undefined ? null : tape.array(entry.seed);
    if (!count) return seed;
    const sums = entry.sums ??= [];
    const from = Math.min(sums.length - 1, Math.floor(count / EVERY));
    let k = from > 0 ? from * EVERY : 0, total = k ? sums[from] : seed;
    for (; k < count; k++) {
      const next = tape.array(list[k].value);
      total = total ? added(total, next) : next;
      if (!total) return null;
      if ((k + 1) % EVERY === 0) sums[(k + 1) / EVERY] ??= total;
    }
    return total;
  }

  // the leaves whose gradients this sweep gives, with their shares in order
  get grads() {
    return this.found ??= new Map(this.tape.leaves.map(leaf => [leaf.number, this.grad(leaf)]).filter(([, grad]) => grad));
  }

  grad(leaf) {
    const entry = this.entries.get(`l${leaf.number}`);
    if (!entry) return null;
    let shares = (this.tape.shares[leaf.number] ?? []).filter(share => share.sweep === this.sweep.number);
    if (!shares.length) {  // the sweep did not come so far
      shares = entry.list.map((c, k) => ({sweep: this.sweep.number, position: c.position, value: c.value, through: [],
        record: this.sweep.steps[entry.steps[k]].target.kind === "record" ?
          this.sweep.steps[entry.steps[k]].target.number : null}));
    }
    const last = Math.min(entry.visit, this.sweep.steps.length);
    shares = shares.map(share => ({...share, step: share.record === null ? last : this.visits[share.record]}));
    const order = shares.map((_, k) => k).sort((a, b) => shares[a].step - shares[b].step || a - b);
    return new Grad(this, leaf, entry, order.map(k => shares[k]));
  }
}

class Entry {
  constructor(path, key, target) {
    Object.assign(this, {key, target, visit: Infinity, list: [], steps: [], seed: undefined});
    Object.defineProperty(this, "path", {value: path});
  }

  get expected() {
    return this.list.length;
  }

  get arrived() {
    return below(this.steps, this.path.at);
  }

  get value() {
    return this.path.sum(this, this.arrived);
  }

  get seeded() {
    return this.seed !== undefined;
  }

  // the steps whose contributions are still to come
  get missing() {
    return this.steps.slice(this.arrived);
  }
}

class Grad {
  constructor(path, leaf, entry, shares) {
    Object.assign(this, {leaf, entry, shares, times: shares.map(share => share.step)});
    Object.defineProperty(this, "path", {value: path});
  }

  get arrived() {
    return below(this.times, this.path.at);
  }

  get sum() {
    return this.entry.visit < this.path.at ? this.final : this.entry.value;
  }

  get final() {
    return this.path.sum(this.entry, this.entry.list.length);
  }

  // what earlier sweeps left in .grad
  get before() {
    const {tape, sweep} = this.path;
    if (sweep.kind !== "backward") return null;
    let total = null;
    for (const other of tape.sweeps.slice(0, sweep.number)) {
      const found = other.kind === "backward" && pathOf(other, tape).entries.get(`l${this.leaf.number}`);
      if (!found || found.visit === Infinity) continue;
      const value = tape.array(found.cotangent);
      total = total ? added(total, value) : value;
    }
    return total;
  }
}

// how many of the ascending numbers are less than n
function below(numbers, n) {
  let low = 0, high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] < n) low = middle + 1; else high = middle;
  }
  return low;
}

const paths = new WeakMap();

function pathOf(sweep, tape) {
  if (!paths.has(sweep)) paths.set(sweep, new Path(tape ?? sweep.tape, sweep));
  return paths.get(sweep);
}

const moment = (sweep, n) => pathOf(sweep).move(n);
