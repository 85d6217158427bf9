// rules for: abs acos acosh asin asinh atan atan2 atanh binary_cross_entropy ceil clamp clamp_number clip_open cos cosh
// rules for: dropout elu erf exp2 expm1 floor floor_divide fmod forget frac gelu hardshrink hardsigmoid hardswish huber
// rules for: hypot leaky_relu lerp lerp_number log10 log1p log2 log_sigmoid logaddexp pow prelu reciprocal remainder root
// rules for: round rsqrt scale_gradient sign silu sin sinh smooth_l1 softplus softshrink tan threshold trunc truncated_divide
//
// What is computed one entry at a time, beside the commonest in replay.js; see there.

replay.rules(({r, itself, zero, sign, power, sigmoid}) => {
  const clip = (a, low, high) => {
    if (!(a >= low) && low != null && a === a) a = low;
    return !(a <= high) && high != null && a === a ? high : a;
  };
  const even = a => (Math.abs(a % 1) === 0.5 ? 2 * Math.round(a / 2) : Math.round(a)) || a * 0;
  const erf = x => {
    if (!(Math.abs(x) < 6)) return x === x ? Math.sign(x) : x;
    let term = x, total = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(total); n++) total += term *= (2 * x * x) / (2 * n + 1);
    return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * total;
  };
  const normal = a => 0.5 * (1 + erf(a * Math.SQRT1_2));
  const per = (c, a, b) => c / (r(r(a * a) + r(b * b)) || 1);
  const modulo = (a, b) => { const m = a % b; return m && m < 0 !== b < 0 ? m + b : m; };
  const shrink = (width, f) => [f, (g, y, a) => (Math.abs(a) <= width ? 0 : g)];
  const between = (a, b, w) => (Math.abs(w) < 0.5 ? a + r(w * r(b - a)) : b - r(r(b - a) * r(1 - w)));
  const scaled = [(a, m) => a * m, (g, y, a, m) => g * m];

  return {
    // an array or a number among the keywords that takes part as an argument does
    extra: {dropout: "mask", scale_gradient: "factor"},
    elementwise: {
      abs: [Math.abs, (g, y, a) => g * sign(a)],
      acos: [Math.acos, (g, y, a) => -g / r(Math.sqrt(r(1 - r(a * a))))],
      acosh: [Math.acosh, (g, y, a) => g / r(Math.sqrt(r(r(a * a) - 1)))],
      asin: [Math.asin, (g, y, a) => g / r(Math.sqrt(r(1 - r(a * a))))],
      asinh: [Math.asinh, (g, y, a) => g / r(Math.sqrt(r(r(a * a) + 1)))],
      atan: [Math.atan, (g, y, a) => g / r(1 + r(a * a))],
      atan2: [Math.atan2, (g, y, a, b) => g * r(per(b, a, b)), (g, y, a, b) => -g * r(per(a, a, b))],
      atanh: [Math.atanh, (g, y, a) => g / r(1 - r(a * a))],
      binary_cross_entropy: [
        (q, t) => r(r(t - 1) * r(Math.max(Math.log1p(-q), -100))) - r(t * r(Math.max(Math.log(q), -100))),
        (g, y, q, t) => g * r(r(q - t) / Math.max(r(r(1 - q) * q), Math.fround(1e-12))),
        (g, y, q) => g * r(r(Math.log(r(1 - q))) - r(Math.log(q))),
      ],
      ceil: [Math.ceil, zero],
      clamp: [
        clip,
        (g, y, a, low, high) => (!(a < low || a > high) ? g : 0),
        (g, y, a, low, high) => (a < low && !(low >= high) ? g : 0),
        (g, y, a, low, high) => (a > high || low > high ? g : 0),
      ],
      clamp_number: ({low, high}) =>
        [a => clip(a, low, high), (g, y, a) => ((low != null && a < low) || (high != null && a > high) ? 0 : g)],
      clip_open: ({low, high}) => [a => clip(a, low, high), (g, y, a) => (a <= low || a >= high ? 0 : g)],
      cos: [Math.cos, (g, y, a) => -g * r(Math.sin(a))],
      cosh: [Math.cosh, (g, y, a) => g * r(Math.sinh(a))],
      dropout: scaled,
      elu: ({alpha, scale, rate}) => [
        a => (a > 0 ? a * scale : r(Math.expm1(Math.min(a, 0) * rate)) * r(alpha * scale)),
        (g, y, a) => g * (a <= 0 ? r(r(Math.exp(a * rate)) * (rate * alpha * scale)) : scale),
      ],
      erf: [erf, (g, y, a) => ((g * 2) / Math.sqrt(Math.PI)) * Math.exp(-a * a)],
      exp2: [a => 2 ** a, (g, y) => r(g * y) * Math.LN2],
      expm1: [Math.expm1, (g, y) => g * r(y + 1)],
      floor: [Math.floor, zero],
      floor_divide: [(a, b) => Math.floor(a / b), zero, zero],
      fmod: [(a, b) => a % b, itself, (g, y, a, b) => -g * Math.trunc(a / b)],
      forget: [itself, zero],
      frac: [a => a - Math.trunc(a), itself],
      gelu: [
        a => a * normal(a),
        (g, y, a) => g * (normal(a) + (a * Math.exp(-0.5 * a * a)) / Math.sqrt(2 * Math.PI)),
      ],
      hardshrink: ({width}) => shrink(width, a => (Math.abs(a) <= width ? 0 : a)),
      hardsigmoid: [a => r(clip(r(a + 3), 0, 6)) / 6, (g, y, a) => (a > -3 && a < 3 ? g * r(1 / 6) : 0)],
      hardswish: [
        a => (a <= -3 ? a * 0 : a >= 3 ? a : r(a * r(a + 3)) / 6),
        (g, y, a) => (a <= -3 ? 0 : a < 3 ? g * r(r(a / 3) + 0.5) : g),
      ],
      huber: ({delta}) => [
        d => (Math.abs(d) <= delta ? 0.5 * r(d * d) : r(Math.abs(d) - 0.5 * delta) * delta),
        (g, y, d) => g * clip(d, -delta, delta),
      ],
      hypot: [(a, b) => Math.hypot(a, b), (g, y, a) => g * r(a / y), (g, y, a, b) => g * r(b / y)],
      leaky_relu: ({slope}) => [a => (a > 0 ? a : a * slope), (g, y, a) => (a > 0 ? g : g * slope)],
      lerp: [between, (g, y, a, b, w) => g * r(1 - w), (g, y, a, b, w) => g * w, (g, y, a, b) => g * r(b - a)],
      lerp_number: ({w}) => [(a, b) => between(a, b, w), g => g * r(1 - w), g => g * w],
      log10: [Math.log10, (g, y, a) => g / r(a * Math.LN10)],
      log1p: [Math.log1p, (g, y, a) => g / r(a + 1)],
      log2: [Math.log2, (g, y, a) => g / r(a * Math.LN2)],
      log_sigmoid: [a => Math.min(a, 0) - Math.log1p(Math.exp(-Math.abs(a))), (g, y, a) => g * sigmoid(-a)],
      logaddexp: [
        (a, b) => (a === b ? a + Math.LN2 : Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b)))),
        (g, y, a, b) => g * sigmoid(r(a - b)), (g, y, a, b) => g * sigmoid(r(b - a)),
      ],
      pow: [
        power,
        (g, y, a, b) => (b === 0 && !(Math.abs(a) > 2e-308) ? 0 : g * r(b * r(power(a, r(b - 1))))),
        (g, y, a, b) => (a === 0 && b >= 0 ? 0 : g * r(y * r(Math.log(a)))),
      ],
      prelu: [(a, s) => (a > 0 ? a : a * s), (g, y, a, s) => (a > 0 ? g : g * s), (g, y, a) => (a > 0 ? 0 : g * a)],
      reciprocal: [a => 1 / a, (g, y) => -g * r(y * y)],
      remainder: [modulo, itself, (g, y, a, b) => -g * Math.floor(a / b)],
      root: [Math.sqrt, (g, y) => (y === 0 ? 0 : g / (2 * y))],
      round: ({decimals}) => [a => even(a * 10 ** decimals) / 10 ** decimals, zero],
      rsqrt: [a => 1 / r(Math.sqrt(a)), (g, y) => g * r(-0.5 * r(y ** 3))],
      scale_gradient: [itself, scaled[1]],
      sign: [sign, zero],
      silu: [a => a * sigmoid(a), (g, y, a) => g * r(sigmoid(a) * r(1 + r(a * r(1 - sigmoid(a)))))],
      sin: [Math.sin, (g, y, a) => g * r(Math.cos(a))],
      sinh: [Math.sinh, (g, y, a) => g * r(Math.cosh(a))],
      smooth_l1: ({beta}) => [
        d => (Math.abs(d) < beta ? r(d * d) * r(0.5 / beta) : Math.abs(d) - r(0.5 * beta)),
        (g, y, d) => g * clip(r(d / beta), -1, 1),
      ],
      softplus: ({beta, threshold}) => [
        a => (r(a * beta) > threshold ? a : (Math.log1p(Math.exp(-Math.abs(a * beta))) + Math.max(a * beta, 0)) / beta),
        (g, y, a) => (r(a * beta) > threshold ? g : g * sigmoid(r(a * beta))),
      ],
      softshrink: ({width}) => shrink(width, a => (a > width ? a - width : a < -width ? a + width : a * 0)),
      tan: [Math.tan, (g, y) => g * r(1 + r(y * y))],
      threshold: ({bound, value}) => [a => (a <= bound ? value : a), (g, y, a) => (a <= bound ? 0 : g)],
      trunc: [Math.trunc, zero],
      truncated_divide: [(a, b) => Math.trunc(a / b), zero, zero],
    },
  };
});
