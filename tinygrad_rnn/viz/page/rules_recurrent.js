// rules for: gru gru_cell lstm lstm_cell rnn rnn_cell
// needs: rules_shapes
//
// Fused cells and layers, replayed as the equations that define them (ops/recurrent/cells.py); see replay.js.

replay.rules(({number, range, composed}) => {
  const affine = (on, x, h, w, u, b, d) => [on("linear", [x, w, b]), on("linear", [h, u, d])];
  const gates = (on, a, n) => range(n).map(k => {
    const size = a.shape.at(-1) / n;
    return on("getitem", [a], {index: [{ellipsis: true}, {slice: [k * size, (k + 1) * size]}]});
  });
  const CELLS = {
    rnn: (on, [x, h, ...weights], p) => [on((p.options ?? p).nonlinearity ?? "tanh", [on("add", affine(on, x, h, ...weights))])],
    lstm: (on, [x, h, c, w, u, b, d, projection]) => {
      let [i, f, g, o] = gates(on, on("add", affine(on, x, h, w, u, b, d)), 4);
      [i, f, g, o] = [on("sigmoid", [i]), on("sigmoid", [f]), on("tanh", [g]), on("sigmoid", [o])];
      c = on("add", [on("mul", [f, c]), on("mul", [i, g])]);
      h = on("mul", [o, on("tanh", [c])]);
      return [projection ? on("linear", [h, projection]) : h, c];
    },
    gru: (on, [x, h, ...weights]) => {
      const [a, b] = affine(on, x, h, ...weights).map(part => gates(on, part, 3));
      const [reset, z] = [0, 1].map(k => on("sigmoid", [on("add", [a[k], b[k]])]));
      const n = on("tanh", [on("add", [a[2], on("mul", [reset, b[2]])])]);
      return [on("add", [on("mul", [on("sub", [number(1), z]), n]), on("mul", [z, h])])];
    },
  };
  const layer = (cell, held) => (on, args, p) => { // `held` states; rows (T, N, I), or packed (S, I) by `sizes`
    const {sizes, reverse, cells, step_masks, sequence_masks} = p.options, x = args[0], weights = args.slice(1 + held);
    if (step_masks?.length || sequence_masks?.length) throw Error("masks");
    const batch = args[1].shape[0], ends = [];
    const part = (y, from, n) => (n === y.shape[0] ? y : on("range", [y], {from: from * y.shape[1], shape: [n, y.shape[1]]}));
    let states = args.slice(1, 1 + held), from = 0;
    const spans = (sizes ?? range(x.shape[0]).map(() => batch)).map(n => [from, n, (from += n)]);
    const flat = on("reshape", [x], {shape: [from, x.shape.at(-1)]});
    for (const [start, n] of reverse ? spans.slice().reverse() : spans) {
      const now = cell(on, [part(flat, start, n), ...states.map(s => part(s, 0, n)), ...weights], p);
      // sequences that have ended keep their state, and those that have not begun their first one
      states = now.map((s, k) => (n === batch ? s : on("cat", [s, part(states[k], n, batch - n)], {dim: 0})));
      ends.push(now);
    }
    if (reverse) ends.reverse();
    const series = range(cells ? held : 1).map(k => {
      const y = on("cat", ends.map(now => now[k]), {dim: 0});
      return sizes ? y : on("reshape", [y], {shape: [x.shape[0], batch, y.shape[1]]});
    });
    // as views, so that a state which is also a result is two results
    const finals = states.map(s => on("reshape", [s], {shape: p.stacked ? [1, ...s.shape] : s.shape}));
    return [series[0], ...finals, ...series.slice(1)];
  };
  const whole = {};
  for (const [name, cell] of Object.entries(CELLS)) {
    whole[`${name}_cell`] = composed(cell, true);
    whole[name] = composed(layer(cell, name === "lstm" ? 2 : 1), true);
  }
  return {whole};
});
