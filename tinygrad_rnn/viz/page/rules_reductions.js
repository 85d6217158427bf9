// rules for: amax amin contract cross_entropy cumprod cumsum layer_norm linear_recurrence
// rules for: log_softmax logsumexp median nll_loss norm prod softmax var
// (and what of these others are composed of: nll_loss and log_softmax of cross_entropy)
// needs: rules_shapes
//
// Sums and the like over axes beside sum and mean, and losses; see replay.js.

replay.rules(({r, itself, number, range, strides, steps, outer, unlike, count, filled, as, array, elementwise, reshaped, contracted, sign,
  axes, groups, folded, sums, size, out, rounded, composed}) => {
  const peaks = (f, start) => ({
    f: ([a], dtype, p) => out(folded(a, axes(p), (x, y) => (x !== x || y !== y ? NaN : f(x, y)), start), dtype, p),
    b: (g, y, [a], p) => {
      const top = reshaped(y, groups(a, axes(p))[0]);
      const ties = elementwise((x, t) => (x === t || (p.nans && x !== x && t !== t) ? 1 : 0), "float64", [a, top]);
      return [elementwise((h, t, n) => h * r(t / n), g.dtype, [reshaped(g, top.shape), ties, sums(ties, axes(p))])];
    },
  });
  const largest = (a, over) => folded(a, over, Math.max, -Infinity);
  const shifted = (a, over) => elementwise((x, m) => r(x - m), "float64", [a, largest(a, over)]);
  const exponentials = a => rounded(a, Math.exp);
  const running = (a, dim, reverse) => {
    const y = filled(a.shape, "float64", k => a.data[k]), step = strides(a.shape)[dim], n = a.shape[dim];
    const order = range(y.data.length).filter(k => Math.floor(k / step) % n !== (reverse ? n - 1 : 0));
    for (const k of reverse ? order.reverse() : order) y.data[k] += y.data[reverse ? k + step : k - step];
    return filled(a.shape, a.dtype, k => y.data[k]);
  };
  const lines = (shape, dim, reverse) => { // the places along an axis, line by line
    const step = strides(shape)[dim], n = shape[dim];
    const found = range(count(shape)).filter(k => Math.floor(k / step) % n === 0).map(k => range(n).map(i => k + i * step));
    return reverse ? found.map(line => line.reverse()) : found;
  };
  const recurring = (x, c, dim, reverse, of) => { // y[i] = x[i] + c[of(i)] y[i - 1]
    const y = Float64Array.from(x.data);
    for (const line of lines(x.shape, dim, reverse))
      for (let i = 1; i < line.length; i++) y[line[i]] = r(y[line[i]] + r(c.data[line[of(i)]] * y[line[i - 1]]));
    return filled(x.shape, x.dtype, k => y[k]);
  };
  const samples = (shape, p) => { // of a loss over classes: the coefficient of each, and the place of its class
    const {classes, scale, divisor, axis, kept} = p.case, s = strides(shape);
    const rows = outer(unlike(shape, axis).map(k => range(shape[k], s[k])));
    return {
      at: rows.map((k, j) => k + Number(classes.data[j]) * s[axis]),
      over: p.reduction === "mean" ? divisor?.data?.[0] ?? divisor : 1,
      shape: classes.shape, weight: j => (scale ? scale.data[j] : 1), used: j => !kept || kept.data[j],
    };
  };
  const letters = p => [[...p.left], [...p.right], [...p.out]];
  const freedom = (a, p) => { const n = size(a, p) - p.correction; return n > 0 ? 1 / n : NaN; };
  const centre = (a, p) => rounded(sums(a, axes(p)), x => r(x) / size(a, p));

  return {
    whole: {
      amax: peaks(Math.max, -Infinity),
      amin: peaks(Math.min, Infinity),
      contract: {
        f: ([a, b], dtype, p) => {
          const [left, right, to] = letters(p), of = c => (left.includes(c) ? a.shape[left.indexOf(c)] : b.shape[right.indexOf(c)]);
          return contracted(a, left, b, right, to, to.map(of));
        },
        b: (g, y, [a, b], p) => {
          const [left, right, to] = letters(p);
          return [contracted(g, to, b, right, left, a.shape), contracted(g, to, a, left, right, b.shape)];
        },
      },
      cumsum: {f: ([a], dtype, p) => running(a, p.dim, p.reverse), b: (g, y, a, p) => [running(g, p.dim, !p.reverse)]},
      cumprod: {
        f: ([a], dtype, {dim, reverse}) => {
          const y = Float64Array.from(a.data);
          for (const line of lines(a.shape, dim, reverse)) for (let i = 1; i < line.length; i++) y[line[i]] = r(y[line[i]] * y[line[i - 1]]);
          return filled(a.shape, dtype, k => y[k]);
        },
        b: (g, y, [a], {dim, reverse}) => { // not y / a: an entry may be 0
          const d = new Float64Array(a.data.length);
          for (const line of lines(a.shape, dim, reverse)) line.forEach((j, i) => {
            let others = line.slice(0, i).reduce((x, k) => x * a.data[k], 1);
            for (const k of line.slice(i)) d[j] += g.data[k] * (others *= k === j ? 1 : a.data[k]);
          });
          return [filled(a.shape, g.dtype, k => d[k])];
        },
      },
      linear_recurrence: {
        f: ([x, c], dtype, {dim, reverse}) => recurring(x, c, dim, reverse, i => i),
        b: (g, y, [x, c], {dim, reverse}) => {
          const s = recurring(g, c, dim, !reverse, i => i - 1), d = array(c.shape, c.dtype);
          for (const line of lines(c.shape, dim, reverse)) line.slice(1).forEach((k, i) => { d.data[k] = s.data[k] * y.data[line[i]]; });
          return [s, as(d, c.dtype)];
        },
      },
      log_softmax: {
        f: ([a], dtype, {dim}) => {
          const s = shifted(a, [dim]), total = sums(exponentials(s), [dim]);
          return elementwise((x, z) => x - r(Math.log(r(z))), dtype, [s, total]);
        },
        b: (g, y, a, {dim}) => [elementwise((h, x, s) => h - r(r(Math.exp(x)) * r(s)), g.dtype, [g, y, sums(g, [dim])])],
      },
      logsumexp: {
        f: ([a], dtype, p) => {
          const peak = rounded(largest(a, axes(p)), x => (Number.isFinite(x) ? x : 0));
          const total = sums(elementwise((x, m) => r(Math.exp(r(x - m))), "float64", [a, peak]), axes(p));
          return out(elementwise((z, m) => r(Math.log(r(z))) + m, dtype, [total, peak]), dtype, p);
        },
        b: (g, y, [a], p) => {
          const kept = groups(a, axes(p))[0];
          return [elementwise((h, x, t) => h * r(Math.exp(r(x - t))), g.dtype, [reshaped(g, kept), a, reshaped(y, kept)])];
        },
      },
      median: {
        f: ([a], dtype) => {
          const line = Float64Array.from(a.data).sort(), n = line.length; // nan sorts last
          return filled([], dtype, () => (line[n - 1] === line[n - 1] ? line[(n - 1) >> 1] : NaN));
        },
        b: (g, y, [a]) => {
          const ties = elementwise((x, t) => (x === t || (x !== x && t !== t) ? 1 : 0), "float64", [a, y]);
          const n = ties.data.reduce((s, x) => s + x, 0);
          return [elementwise((h, x) => h * r(x / n), g.dtype, [g, ties])];
        },
      },
      nll_loss: {
        f: ([a], dtype, p) => {
          const {at, over, shape, weight, used} = samples(a.shape, p);
          const loss = filled(shape, "float64", j => (used(j) ? r(-a.data[at[j]] * weight(j)) : 0));
          if (p.reduction === "none") return filled(shape, dtype, j => loss.data[j]);
          return filled([], dtype, () => r(loss.data.reduce((x, y) => x + y, 0)) / over);
        },
        b: (g, y, [a], p) => {
          const {at, over, weight, used} = samples(a.shape, p), d = array(a.shape, a.dtype);
          at.forEach((place, j) => { d.data[place] = used(j) ? -r(weight(j) * r(g.data[g.shape.length ? j : 0] / over)) : 0; });
          return [filled(a.shape, a.dtype, k => d.data[k])];
        },
      },
      norm: {
        f: ([a], dtype, p) => {
          if (p.p !== 1 && p.p !== 2) throw Error("a norm of this order");
          const total = sums(rounded(a, x => (p.p === 1 ? Math.abs(x) : x * x)), axes(p));
          return out(p.p === 1 ? total : rounded(total, Math.sqrt), dtype, p);
        },
        b: (g, y, [a], p) => {
          const kept = groups(a, axes(p))[0], f = (h, t, x) => (p.p === 1 ? h * sign(x) : t === 0 ? h * 0 : h * r(x / t));
          return [elementwise(f, g.dtype, [reshaped(g, kept), reshaped(y, kept), a])];
        },
      },
      prod: {
        f: ([a], dtype, p) => out(folded(a, axes(p), (x, y) => r(x * y), 1), dtype, p),
        b: (g, y, [a], p) => { // not y / a: an entry may be 0
          const [kept, at] = groups(a, axes(p)), others = filled(a.shape, "float64", () => 1);
          for (let i = 0; i < at.length; i++) for (let j = 0; j < at.length; j++) if (i !== j && at[i] === at[j]) others.data[i] *= a.data[j];
          return [elementwise((h, o) => h * o, g.dtype, [reshaped(g, kept), others])];
        },
      },
      softmax: {
        f: ([a], dtype, {dim}) => {
          const e = exponentials(shifted(a, [dim]));
          return elementwise((x, z) => x / r(z), dtype, [e, sums(e, [dim])]);
        },
        b: (g, y, a, {dim}) => {
          const w = elementwise((h, x) => r(h * x), "float64", [g, y]);
          return [elementwise((x, t, s) => x - r(t * r(s)), g.dtype, [w, y, sums(w, [dim])])];
        },
      },
      var: {
        f: ([a], dtype, p) => {
          const total = sums(elementwise((x, m) => r(r(x - m) ** 2), "float64", [a, centre(a, p)]), axes(p));
          return out(rounded(total, x => r(x) * freedom(a, p)), dtype, p);
        },
        b: (g, y, [a], p) => {
          const mean = centre(a, p), f = (h, x, m) => r(h * 2 * freedom(a, p)) * r(x - m);
          return [elementwise(f, g.dtype, [reshaped(g, mean.shape), a, mean])];
        },
      },
      cross_entropy: composed((on, [a], p) => on("nll_loss", [on("log_softmax", [a], {dim: p.case.axis})], p)),
      layer_norm: composed((on, [x, weight, bias], p) => {
        const last = range(p.count).map(k => x.shape.length - p.count + k), mean = a => on("mean", [a], {axes: last, keepdims: true});
        const centred = on("sub", [x, mean(x)]);
        let y = on("mul", [centred, on("pow_number", [on("add", [mean(on("square", [centred])), number(p.eps)])], {exponent: -0.5})]);
        if (weight) y = on("mul", [y, weight]);
        return bias ? on("add", [y, bias]) : y;
      }),
    },
  };
});
