// rules for: constant_in diag_embed diagonal embedding entries flip fold gather gather_rows place place_all repeat roll
// rules for: scatter_add scatter_rows setitem unfold view_write
// needs: rules_shapes
//
// Look-ups, writes and moves, by lists of places; see replay.js.

replay.rules(({array, zero, count, range, strides, steps, outer, along, unlike, indexed, spread, taken, laid, filled, added,
  elementwise, summedTo, reshaped, rounding, view}) => {
  const lookup = (shape, p) => indexed(shape, p.index);
  const region = (a, {view: of, how, index}) => (of ? view(of.primitive, a.shape, how) : indexed(a.shape, index));
  const overwritten = { // setitem, and a write through a view
    f: ([a, v], dtype, p) => {
      const y = filled(a.shape, a.dtype, k => a.data[k]), [shape, at = range(y.data.length)] = region(a, p);
      if (v.shape.length > shape.length) v = reshaped(v, v.shape.slice(v.shape.length - shape.length));
      const from = spread(v.shape, shape), round = rounding(a.dtype);
      at.forEach((place, k) => { y.data[place] = round(v.data[from[k]]); });
      return y;
    },
    b: (g, y, [, v], p) => {
      const [shape, at = range(g.data.length)] = region(g, p), rest = filled(g.shape, g.dtype, k => g.data[k]);
      at.forEach(place => { rest.data[place] = 0; });
      let there = taken(g, at, shape);
      if (p.last) there = elementwise((x, last) => (last ? x : 0), g.dtype, [there, p.last]); // of places named twice
      return [rest, summedTo(there, v.shape)];
    },
  };
  return {
    views: {
      diagonal: (shape, {offset: o, dim1, dim2}) => {
        const s = steps(shape), rest = unlike(shape, dim1, dim2), low = Math.min(o, 0), high = Math.max(o, 0);
        const line = range(Math.max(0, Math.min(shape[dim1] + low, shape[dim2] - high))).map(k => s[dim1][k - low] + s[dim2][k + high]);
        return [[...rest.map(k => shape[k]), line.length], outer([...rest.map(k => s[k]), line])];
      },
      flip: (shape, p) => along(shape, p.dims, part => part.slice().reverse()),
      gather: lookup,
      gather_rows: lookup,
      repeat: (shape, {repeats}) => {
        const full = [...repeats.slice(shape.length).map(() => 1), ...shape];
        return [full.map((n, k) => n * repeats[k]), outer(steps(full).map((part, k) => range(repeats[k]).flatMap(() => part)))];
      },
      roll: (shape, p) => p.dims.reduce(([, at], d, i) => {
        const turned = part => part.map((_, k) => part[(((k - p.shifts[i]) % part.length) + part.length) % part.length]);
        const now = along(shape, [d], turned)[1];
        return [shape, at ? now.map(k => at[k]) : now];
      }, [shape]),
      unfold: (shape, {dim, size, step}) => {
        const s = steps(shape), starts = s[dim].slice(0, Math.max(0, shape[dim] - size + 1)).filter((_, k) => k % step === 0);
        const parts = [...s.slice(0, dim), starts, ...s.slice(dim + 1), s[dim].slice(0, size)];
        return [parts.map(part => part.length), outer(parts)];
      },
    },
    adjoints: {diag_embed: "diagonal", fold: "unfold", place: "getitem", scatter_rows: "getitem"},
    whole: {
      constant_in: {f: ([g]) => ({...g}), b: (h, y, [, a]) => [h, filled(a.shape, h.dtype, zero)]},
      embedding: {
        f: ([w], dtype, p) => { const [shape, at] = lookup(w.shape, p); return taken(w, at, shape); },
        b: (g, y, [w], p) => {
          const n = w.shape[1], padding = k => Number(p.index.data[Math.floor(k / n)]) === p.padding_idx;
          return [laid(filled(g.shape, g.dtype, k => (padding(k) ? 0 : g.data[k])), lookup(w.shape, p)[1], w.shape)];
        },
      },
      entries: {
        several: true,
        f: ([a]) => {
          const shape = a.shape.slice(1), n = count(shape);
          return range(a.shape[0]).map(k => array(shape, a.dtype, a.data.slice(k * n, (k + 1) * n)));
        },
        b: (gs, y, [a]) => {
          const n = count(a.shape.slice(1));
          return [filled(a.shape, a.dtype, k => gs[Math.floor(k / n)]?.data[k % n] ?? 0)];
        },
      },
      place_all: {
        f: (args, dtype, p) => args.map((a, k) => laid(a, indexed(p.shape, p.indices[k])[1], p.shape)).reduce(added),
        b: (g, y, args, p) => args.map((a, k) => taken(g, indexed(p.shape, p.indices[k])[1], a.shape)),
      },
      scatter_add: {
        f: ([a, source], dtype, p) => added(a, laid(source, lookup(a.shape, p)[1], a.shape)),
        b: (g, y, [a, source], p) => [g, taken(g, lookup(a.shape, p)[1], source.shape)],
      },
      setitem: overwritten,
      view_write: overwritten,
    },
  };
});
