// data.js unpacks the payload (viz/payload.py).  It gives
//
//   load() -> tape      {title, error, values, leaves, records, sweeps, shares, earlier, lines, sources, layout, formulas}
//                       and tape.array(value), tape.expansion(record) -> tape or null, tape.outer (of an expansion)
//
//   tape.leaves[i]      {number, name, shape, dtype, values: [value]}
//   tape.records[i]     {number, name, shape, dtype, value, inputs, args, argNames, constants, saved, more, bytes, params, variables,
//                       module, layer, direction, time, sweep, line, stack, column (its time by the layout), formula}
//                       constants: what the program calls arguments without a record, x[t]; null if that is not known
//   an input            null, or {kind: "record" | "leaf" | "earlier", number, output, version}
//   an argument         value, or {number: 0.5}
//   tape.sweeps[i]      {number, kind, error, seeds: [{target, value}],
//                        steps: [{number, target, cotangent, depth, contributions}]}
//   a contribution      {target, position, value, before, after}: the sums are undefined unless the tape kept them
//   tape.shares[leaf]   [{sweep, record, position, value, through}]
//   tape.lines[i]       {file, number, function, text}
//   tape.sources[file]  [[number of the first line, [lines]]]
//   a value             null, the number of an array, or a list of these
//   tape.array(value)   {shape, dtype, size, data, complex, whole, norm, min, max}, a list of these, or null; data holds
//                       all entries if whole, else the first; of complex numbers pairs.  Made when first asked for.

const TYPES = {
  bool: [1, Uint8Array], int8: [1, Int8Array], uint8: [1, Uint8Array], int16: [2, Int16Array], uint16: [2, Uint16Array],
  int32: [4, Int32Array], uint32: [4, Uint32Array], int64: [8, BigInt64Array], uint64: [8, BigUint64Array],
  float16: [2, Uint16Array], float32: [4, Float32Array], float64: [8, Float64Array],
  complex64: [8, Float32Array], complex128: [16, Float64Array],
};

// byte 0 of all entries, then byte 1 ...: back to entries
function entriesOf(bytes, from, count, width) {
  const out = new Uint8Array(count * width);
  for (let b = 0; b < width; b++) {
    for (let k = 0, at = b, place = from + b * count; k < count; k++, at += width) out[at] = bytes[place + k];
  }
  return out.buffer;
}

function half(bits) {
  const sign = bits >> 15 ? -1 : 1, power = (bits >> 10) & 31, rest = bits & 1023;
  if (power === 31) return rest ? NaN : sign * Infinity;
  return power ? sign * 2 ** (power - 25) * (1024 + rest) : sign * rest * 2 ** -24;
}

// the table of all arrays
class Arrays {
  constructor(plain, bytes, from) {
    this.dtypes = plain.dtypes;
    this.shapes = plain.shapes;
    const {dtype, shape, kept} = this.table = plain.arrays;
    const count = dtype.length, counts = this.dtypes.map(() => 0);
    this.place = new Float64Array(count);
    this.summary = new Int32Array(count);
    this.head = new Int32Array(count);
    this.made = new Array(count);
    let summaries = 0;
    for (let k = 0; k < count; k++) {
      let size = kept[k];
      if (size < 0) {
        size = -1 - size;
        this.summary[k] = ++summaries;
      }
      this.head[k] = size;
      this.place[k] = counts[dtype[k]];
      counts[dtype[k]] += size;
    }
    this.entries = this.dtypes.map((name, k) => {
      const [width, Type] = TYPES[name];
      const entries = new Type(entriesOf(bytes, from, counts[k], width));
      from += counts[k] * width;
      return name === "float16" ? Float32Array.from(entries, half) : entries;
    });
    this.sizes = new Float64Array(entriesOf(bytes, from, 3 * summaries, 8));
  }

  get(number) {
    return this.made[number] ??= this.make(number);
  }

  make(number) {
    const kind = this.table.dtype[number], dtype = this.dtypes[kind], complex = dtype.startsWith("complex");
    const shape = this.shapes[this.table.shape[number]], each = complex ? 2 : 1, place = this.place[number] * each;
    const data = this.entries[kind].subarray(place, place + this.head[number] * each);
    const size = shape.reduce((a, b) => a * b, 1);
    const array = {shape, dtype, size, complex, data, whole: true};
    const summary = this.summary[number];
    if (!summary) return measured(array);
    array.whole = false;
    if (data.length || !size) {  // else nothing but the shape was kept
      const [norm, min, max] = this.sizes.subarray(3 * summary - 3, 3 * summary);
      Object.assign(array, {norm, min: min === min ? min : null, max: max === max ? max : null});
    } else Object.assign(array, {norm: null, min: null, max: null});
    return array;
  }
}

// norm, min and max of a whole array, when asked for
function measured(array) {
  let found;
  const all = () => found ??= sizesOf(array);
  for (const name of ["norm", "min", "max"]) Object.defineProperty(array, name, {get: () => all()[name]});
  return array;
}

// as size_of_norm of tape/observe/values.py: without overflow on the way
function sizesOf({data, complex}) {
  let largest = 0, min = null, max = null, sum = 0, bad = false;
  for (let k = 0; k < data.length; k++) {
    const x = Number(data[k]), size = Math.abs(x);
    if (x !== x) bad = true;
    else {
      if (min === null || x < min) min = x;
      if (max === null || x > max) max = x;
    }
    if (size > largest) largest = size;
  }
  if (complex) min = max = null;
  if (bad) return {norm: NaN, min, max};
  if (largest === 0 || largest === Infinity) return {norm: largest, min, max};
  for (let k = 0; k < data.length; k++) sum += (Number(data[k]) / largest) ** 2;
  return {norm: largest * Math.sqrt(sum), min, max};
}

const column = (given, k) => given === undefined ? undefined : Array.isArray(given) ? given[k] : given.all;
const KINDS = {r: "record", l: "leaf", e: "earlier"};

function referenceFrom(plain) {
  if (plain === null) return null;
  const [letter, number, place] = plain;
  return letter === "l" ? {kind: "leaf", number, output: 0, version: place} :
    {kind: KINDS[letter], number, output: place, version: 0};
}

// one tape; `next` is how many arrays were seen before
function unpacked(plain, all, arrays, next) {
  const value = given => {
    if (given === null || given === undefined) return null;
    if (Array.isArray(given)) return given.map(value);
    return given === 0 ? next.count++ : next.count - given;
  };
  const parameter = given => {
    if (given === null || typeof given !== "object") return given;
    if (Array.isArray(given)) return given.map(parameter);
    const out = {};
    for (const [kind, held] of Object.entries(given)) out[kind] = kind === "array" ? value(held) : parameter(held);
    return out;
  };
  const tape = {...plain, title: all.title, sources: all.sources, lines: all.lines};
  tape.leaves = plain.leaves.map((leaf, number) => ({...leaf, number, values: leaf.values.map(value)}));
  const none = [], columns = plain.records, records = tape.records = [];
  for (let number = 0; number < plain.count; number++) {
    const at = name => column(columns[name], number);
    const inputs = (at("inputs") ?? none).map(given => {
      if (typeof given === "number") return {kind: "record", number: number - given, output: 0, version: 0};
      if (given && typeof given[0] === "number") {
        return {kind: "record", number: number - given[0], output: given[1], version: 0};
      }
      return referenceFrom(given);
    });
    const record = {number, name: at("name"), shape: all.shapes[at("shape") ?? 0], dtype: all.dtypes[at("dtype") ?? 0],
      value: value(at("value")), inputs};
    record.args = (at("args") ?? none).map((given, k) => {
      if (given === "=") return valueOf(tape, inputs[k]);
      return given && given.number !== undefined ? given : value(given);
    });
    record.more = {};
    for (const [name, given] of Object.entries(at("more") ?? {})) record.more[name] = value(given);
    record.params = {};
    for (const [name, given] of Object.entries(at("params") ?? {})) record.params[name] = parameter(given);
    record.bytes = at("bytes") ?? 0;
    for (const name of ["argNames", "constants", "saved", "variables", "stack"]) record[name] = at(name) ?? none;
    for (const name of ["module", "layer", "direction", "time", "sweep", "line"]) record[name] = at(name) ?? null;
    record.column = record.time;
    record.formula = all.formulas[`${record.name}/${record.argNames.length}`] ?? null;
    records.push(record);
  }
  tape.sweeps = plain.sweeps.map((given, number) => {
    const sweep = {number, tape, kind: given.kind, error: given.error, steps: []};
    let last = 0;
    for (let k = 0; k < given.count; k++) {
      const at = name => column(given.steps[name], k);
      let target = at("target");
      if (typeof target === "number") target = {kind: "record", number: last -= target, output: 0, version: 0};
      else target = referenceFrom(target);
      const record = target.kind === "record" ? records[target.number] : null;
      const cotangent = value(at("cotangent"));
      const contributions = (at("contributions") ?? none).map(entry => {
        const said = Array.isArray(entry[1]) && typeof entry[1][0] === "string";
        const [position, ...rest] = entry;
        const to = said ? referenceFrom(rest.shift()) : {...record.inputs[position], version: 0};
        const found = {target: to, position, value: value(rest[0])};
        if (rest.length > 1) [found.before, found.after] = rest[1].map(value);
        return found;
      });
      sweep.steps.push({number: k, target, cotangent, depth: at("depth") ?? 0, contributions});
    }
    sweep.seeds = given.seeds.map(([target, seed]) => ({target: referenceFrom(target), value: value(seed)}));
    return sweep;
  });
  tape.shares = Object.fromEntries(Object.entries(plain.shares).map(([leaf, shares]) => [leaf, shares.map(
    ([sweep, record, position, given, through]) => ({sweep, record, position, value: value(given), through}))]));
  tape.layout = plain.layout;
  for (const band of tape.layout.bands) {
    for (const row of band.cells) {
      for (let k = 1; k < row.length; k++) row[k] += row[k - 1];
      if (band.kind === "loop") row.forEach((number, k) => { if (number >= 0) records[number].column ??= band.times[k]; });
    }
  }
  tape.formulas = all.formulas;
  tape.array = given => given === null || given === undefined ? null :
    Array.isArray(given) ? given.map(tape.array) : typeof given === "number" ? arrays.get(given) : given;
  return tape;
}

// the value of what a reference is to
function valueOf(tape, reference) {
  if (!reference) return null;
  if (reference.kind === "leaf") return tape.leaves[reference.number].values[reference.version] ?? null;
  if (reference.kind !== "record") return null;
  const {value} = tape.records[reference.number];
  return Array.isArray(value) ? value[reference.output] : value;
}

async function load() {
  const bytes = document.currentScript.content;  // from loader.js
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const all = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  all.lines = all.lines.map(([file, number, name, text]) => ({file, number, function: name, text}));
  const arrays = new Arrays(all, bytes, 4 + length), next = {count: 0};
  const tapes = all.tapes.map(plain => unpacked(plain, all, arrays, next)), [tape] = tapes;
  tape.error = all.error;
  tape.expansion = record => tapes[all.expansions[record.number]] ?? null;
  for (const [number, k] of Object.entries(all.expansions)) {
    Object.assign(tapes[k], {outer: tape, opened: tape.records[number], error: null, expansion: () => null});
  }
  return tape;
}
