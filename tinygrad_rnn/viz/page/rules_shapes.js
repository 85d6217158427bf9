// rules for: alias broadcast_to cast cat clone contiguous getitem move permute reshape stack sum_to transpose
//
// Views, indices, and what stands side by side; and how a rule is composed of others.  See replay.js.

replay.rules(({itself, array, count, alike, range, list, strides, steps, outer, spread, taken, filled, as, added, summedTo, reshaped,
  valued, pulled}) => {
  // indices and axes -------------------------------------------------------------------------------------------------

  function sliced([start, stop, step], n) {
    step ??= 1;
    const [low, high] = step > 0 ? [0, n] : [-1, n - 1];
    const bound = (i, none) => (i == null ? none : Math.min(Math.max(i < 0 ? i + n : i, low), high));
    const from = bound(start, step > 0 ? low : high), to = bound(stop, step > 0 ? high : low);
    return range(Math.max(0, Math.ceil((to - from) / step))).map(k => from + k * step);
  }
  const isMask = i => i?.dtype === "bool";
  function masked(mask) { // as index arrays, one for each axis
    const found = range(mask.data.length).filter(k => mask.data[k]), s = strides(mask.shape);
    return s.map((step, k) => array([found.length], "int64", found.map(i => Math.floor(i / step) % mask.shape[k])));
  }
  function indexed(shape, index) { // as NumPy does: index arrays side by side stay there, apart they come first
    let items = list(index), axis = 0;
    const used = items.reduce((n, i) => n + (i === null || i.ellipsis ? 0 : isMask(i) ? i.shape.length : 1), 0);
    const rest = range(shape.length - used).map(() => ({slice: []})), dots = items.findIndex(i => i?.ellipsis);
    items = dots < 0 ? [...items, ...rest] : [...items.slice(0, dots), ...rest, ...items.slice(dots + 1)];
    const parts = [], arrays = [], before = [], s = strides(shape);
    const look = (sizes, places) => { arrays.push(array(sizes, "int64", places)); before.push(parts.length); };
    for (const item of items.flatMap(i => (isMask(i) && i.shape.length ? masked(i) : [i]))) {
      if (item === null) parts.push([0]);
      else if (isMask(item)) look([item.data[0] ? 1 : 0], item.data[0] ? [0] : []); // one more axis, of size 1 or 0
      else {
        const n = shape[axis], step = s[axis++];
        if (item.slice) parts.push(sliced(item.slice, n).map(i => i * step));
        else look(item.shape ?? [], Array.from(item.data ?? [item], i => (Number(i) < 0 ? Number(i) + n : Number(i)) * step));
      }
    }
    const sizes = parts.map(part => [part.length]);
    if (arrays.length) {
      const together = arrays.reduce(added), where = before.every(k => k === before[0]) ? before[0] : 0;
      parts.splice(where, 0, together.data);
      sizes.splice(where, 0, together.shape);
    }
    return [sizes.flat(), outer(parts)];
  }
  const unlike = (shape, ...dims) => range(shape.length).filter(k => !dims.includes(k));
  const ordered = (shape, dims) => [dims.map(d => shape[d]), outer(dims.map(d => steps(shape)[d]))];
  const along = (shape, dims, f) => [shape, outer(steps(shape).map((part, k) => (dims.includes(k) ? f(part) : part)))];

  const blocks = (shape, dim, sizes, f) => { // f(k, places) of each of the blocks that stand side by side
    let from = 0;
    sizes.forEach((n, k) => {
      const parts = steps(shape);
      parts[dim] = parts[dim].slice(from, from += n);
      f(k, outer(parts));
    });
  };
  function joined(args, dim) {
    const empty = a => alike(a.shape, [0]) && args.some(b => b.shape.length > 1); // which fits anywhere
    const parts = args.filter(a => !empty(a)), sizes = parts.map(a => a.shape[dim]);
    const y = array(parts[0].shape.map((n, k) => (k === dim ? sizes.reduce((m, j) => m + j, 0) : n)), parts[0].dtype);
    blocks(y.shape, dim, sizes, (k, at) => at.forEach((place, j) => { y.data[place] = parts[k].data[j]; }));
    return y;
  }
  function split(g, args, dim) {
    const found = [];
    blocks(g.shape, dim, args.map(a => a.shape[dim]), (k, at) => { found[k] = taken(g, at, args[k].shape); });
    return found;
  }
  const raised = (args, dim) => args.map(a => reshaped(a, [...a.shape.slice(0, dim), 1, ...a.shape.slice(dim)]));
  const same = shape => [shape];


  // ------------------------------------------------------------------------------------------------------------------

  // What is composed of other rules: `build(on, args, p)` applies them by `on(name, args, p)`, and what it applied, in
  // order, is a small tape of its own.  Half precision is computed in float32.
  const composed = (build, several = false) => ({
    several,
    f: (args, dtype, p) => {
      const wide = a => (a?.dtype === "float16" && !several ? as(a, "float32") : a && {...a}); // two equal arguments are two
      const tape = [], own = args.map(wide), found = list(build((name, given, keywords = {}) => {
        const y = {...valued(name, given, keywords)};
        tape.push({name, given, keywords, y});
        return y;
      }, own, p));
      const results = found.map(y => (dtype === "float16" ? as(y, dtype) : {...y}));
      Object.defineProperty(results[0], "inside", {value: {tape, own, found}});
      return several ? results : results[0];
    },
    b: (g, y, args) => {
      const {tape, own, found} = list(y)[0].inside, totals = new Map();
      const add = (a, d) => a && d && totals.set(a, totals.has(a) ? added(totals.get(a), d) : d);
      found.forEach((a, k) => add(a, as(list(g)[k], a.dtype)));
      for (const {name, given, keywords, y} of tape.slice().reverse()) {
        const d = totals.get(y);
        if (d) pulled(name, d, y, given, keywords, given.map(Boolean)).forEach((x, k) => add(given[k], x));
      }
      return own.map((a, k) => a && as(totals.get(a) ?? array(a.shape, a.dtype), args[k].dtype));
    },
  });

  return {
    tools: {indexed, unlike, ordered, along, composed},
    views: {
      alias: same, clone: same, contiguous: same, move: same,
      broadcast_to: (shape, p) => [p.shape, spread(shape, p.shape)],
      getitem: (shape, p) => indexed(shape, p.index),
      permute: (shape, p) => ordered(shape, p.dims.map(d => (d < 0 ? d + shape.length : d))),
      range: (shape, p) => [p.shape, outer(steps(p.shape), p.from)], // entries in a row: of composed rules
      reshape: (shape, p) => {
        const known = count(p.shape.filter(n => n !== -1));
        return [p.shape.map(n => (n === -1 ? count(shape) / known : n))];
      },
      transpose: (shape, {axis1, axis2}) =>
        ordered(shape, range(shape.length).map(k => (k === axis1 ? axis2 : k === axis2 ? axis1 : k))),
    },
    whole: {
      cast: {
        f: ([a], dtype) => {
          const round = dtype === "bool" ? x => +(x !== 0) : /int/.test(dtype) ? Math.trunc : itself;
          return filled(a.shape, dtype, k => round(a.data[k]));
        },
        b: (g, y, [a]) => [as(g, a.dtype)],
      },
      cat: {f: (args, dtype, p) => joined(args, p.dim), b: (g, y, args, p) => split(g, args, p.dim)},
      stack: {
        f: (args, dtype, p) => joined(raised(args, p.dim), p.dim),
        b: (g, y, args, p) => split(g, raised(args, p.dim), p.dim).map((d, k) => reshaped(d, args[k].shape)),
      },
      sum_to: {f: ([a], dtype, p) => summedTo(a, p.shape), b: (g, y, [a]) => [taken(g, spread(g.shape, a.shape), a.shape)]},
    },
  };
});
