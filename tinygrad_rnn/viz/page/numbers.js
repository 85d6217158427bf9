// numbers.js shows numbers and arrays.  It gives
//
//   escaped(text)              for HTML
//   full(x), brief(x)          a number as text: so that it can be read back exactly; to four digits
//   entry(array, k)            entry k as a number, a BigInt, or [re, im]
//   numberHTML(x, of)          a number that stands alone: a size, a percentage; with data-of if `of` is given
//   arrayHTML(array, of, short)  an array, or list of arrays, as a table of numbers (to 64 entries), or by its size.  Each
//                              number carries data-value, the whole data-of=of; and data-shown="norm", or "sizes" (norm,
//                              least, greatest, first entries), where it is not all entries in order
//   arrayHTML.hidden(of, k)    the quiz may set it: whether entry k (undefined: all) is not to be seen
//   windows                    which part of a large array is shown, by `of`
//   added(a, b)                the sum, rounded as the dtype rounds; null if one of them is not whole
//   dot(a, b), sameBits(a, b)

const WHOLE = 64, SIDE = 8;

const escaped = text => String(text).replace(/[&<>"']/g, c => `&#${c.charCodeAt(0)};`);

function full(x) {
  if (Array.isArray(x)) return `${full(x[0])}${x[1] < 0 || Object.is(x[1], -0) ? "" : "+"}${full(x[1])}j`;
  if (typeof x === "boolean") return x ? "True" : "False";
  if (typeof x !== "number") return String(x);
  if (x !== x) return "nan";
  if (Math.abs(x) === Infinity) return x > 0 ? "inf" : "-inf";
  return Object.is(x, -0) ? "-0.0" : String(x);
}

function brief(x) {
  if (Array.isArray(x)) {
    const im = brief(x[1]);
    return `${brief(x[0])}${/^[−-]/.test(im) ? "" : "+"}${im}j`;
  }
  if (typeof x !== "number") return full(x);
  const size = Math.abs(x);
  if (x !== x || size === Infinity || x === 0) return full(x).replace("-", "−").replace(".0", "").replace("inf", "∞");
  if (Number.isInteger(x) && size < 1e6) return String(x).replace("-", "−");
  const text = size >= 1e5 || size < 1e-3 ? x.toExponential(2).replace("e+", "e") : x.toPrecision(4);
  return text.replace(/-/g, "−");
}

function entry(array, k) {
  if (array.complex) return [array.data[2 * k], array.data[2 * k + 1]];
  const x = array.data[k];
  if (array.dtype === "bool") return !!x;
  return typeof x === "bigint" ? x : Number(x);
}

const numberHTML = (x, of) => x === null || x === undefined ? '<span class="dim">unknown</span>' :
  `<span class="n" data-value="${full(x)}"${of ? ` data-of="${escaped(of)}"` : ""}>${brief(x)}</span>`;

const windows = new Map();
const shapeText = ({shape}) => shape.length ? shape.join("×") : "scalar";

// the colour of an entry: how large it is beside the largest, and its sign
function heat(x, largest) {
  const value = Array.isArray(x) ? Math.hypot(...x) : Number(x);
  if (value !== value || Math.abs(value) === Infinity) return ' class="bad"';
  if (!value || !largest) return "";
  return ` class="${value < 0 ? "neg" : "pos"}" style="--v:${(Math.abs(value) / largest).toFixed(2)}"`;
}

function cellHTML(array, k, largest, hidden) {
  if (hidden(k)) return '<td class="hid">?</td>';
  const x = entry(array, k);
  return `<td${heat(x, largest)} data-value="${full(x)}">${brief(x)}</td>`;
}

function tableHTML(array, from, rows, columns, stride, hidden) {
  const end = from + (rows - 1) * stride + columns;
  if (rows === 1 && columns > SIDE) {  // a long vector goes on below
    rows = Math.ceil(columns / SIDE);
    columns = stride = SIDE;
  }
  const largest = Math.max(Math.abs(array.min ?? 0), Math.abs(array.max ?? 0), array.complex ? array.norm : 0);
  let text = "<table>";
  for (let r = 0; r < rows; r++) {
    text += "<tr>";
    for (let c = 0; c < columns && from + r * stride + c < end; c++) text += cellHTML(array, from + r * stride + c, largest, hidden);
    text += "</tr>";
  }
  return text + "</table>";
}

// norm and range, in place of the entries
function sizesHTML(array) {
  const {norm, min, max, size} = array;
  let text = `<span class="tag">${array.dtype} ${shapeText(array)}</span>`;
  if (!size) return `${text} <span class="dim">no entries</span>`;
  if (norm === null) return `${text} <span class="dim">only the shape was kept</span>`;
  text += ` <span class="dim">norm</span> ${numberHTML(norm)}`;
  if (min !== null) text += ` <span class="dim">from</span> ${numberHTML(min)} <span class="dim">to</span> ${numberHTML(max)}`;
  return text;
}

// the window into a large array: leading indices, then a block of rows and columns
function windowHTML(array, of) {
  const {shape} = array, rank = shape.length, columns = shape[rank - 1], rows = rank > 1 ? shape[rank - 2] : 1;
  const at = windows.get(of) ?? {};
  const place = shape.map((length, k) => Math.max(0, Math.min(at.place?.[k] ?? 0, length - (k < rank - 2 ? 1 : SIDE))));
  const shown = [Math.min(rows, SIDE), Math.min(columns, SIDE)];
  let from = 0;
  shape.forEach((length, k) => { from = from * length + place[k]; });
  const fields = shape.map((length, k) => `<input type="number" min="0" max="${length - 1}" value="${place[k]}" data-axis="${k}"
 aria-label="axis ${k}, of ${length} entries, from">`.replace("\n", ""));
  return `<div class="window" data-window="${escaped(of)}">[${fields.join(", ")}] <span class="dim">from there ${shown.join("×")}</span>` +
    `${tableHTML(array, from, shown[0], shown[1], columns, () => false)}</div>`;
}

function arrayHTML(array, of, short = false) {
  if (Array.isArray(array)) {
    return array.map((each, k) => `<span class="one">${each === null ? '<span class="dim">none</span>' :
      arrayHTML(each, array.length > 1 ? `${of}.${k}` : of)}</span>`).join("");
  }
  if (!array) return '<span class="dim">not kept</span>';
  const hide = k => arrayHTML.hidden?.(of, k) ?? false;
  const {shape, size, data} = array, large = !array.whole || size > 16 || shape[shape.length - 1] > 6;
  if (short && size && large && !hide() && array.norm !== null) {
    return `<span class="arr" data-of="${escaped(of)}" data-shown="norm"><span class="tag">${shapeText(array)}</span> <span class="dim">norm</span> ${numberHTML(array.norm)}</span>`;
  }
  const open = `<span class="arr" data-of="${escaped(of)}" data-shape="${shape}"${array.whole && size <= WHOLE ? "" : ' data-shown="sizes"'}>`;
  if (!array.whole) {
    const few = array.complex ? data.length / 2 : data.length;
    const head = hide() ? "?" : Array.from({length: few}, (_, k) => numberHTML(entry(array, k))).join(", ");
    return `${open}${hide() ? "?" : sizesHTML(array)}${few ? ` <span class="head">${head} …</span>` : ""}</span>`;
  }
  if (!size) return `${open}${sizesHTML(array)}</span>`;
  if (!shape.length) {
    const x = entry(array, 0);
    return `${open}${hide(0) ? '<span class="hid">?</span>' : `<span class="n big" data-value="${full(x)}">${brief(x)}</span>`}</span>`;
  }
  if (size > WHOLE) {
    const shown = windows.has(of) && !hide();
    const button = `<button class="mini" data-entries="${escaped(of)}" aria-expanded="${shown}">entries</button>`;
    return `${open}${hide() ? "?" : `${sizesHTML(array)} ${button}${shown ? windowHTML(array, of) : ""}`}</span>`;
  }
  const columns = shape[shape.length - 1], rows = shape.length > 1 ? shape[shape.length - 2] : 1;
  let text = "";
  for (let from = 0; from < size; from += rows * columns) text += tableHTML(array, from, rows, columns, columns, hide);
  return `${open}${text}</span>`;
}

const toHalf = Math.f16round ?? (x => {
  const size = Math.abs(x);
  if (!(size < Infinity) || !size) return x;
  const unit = 2 ** (Math.max(-14, Math.floor(Math.log2(size))) - 10), q = size / unit, low = Math.floor(q), rest = q - low;
  const rounded = (rest > 0.5 || (rest === 0.5 && low % 2) ? low + 1 : low) * unit;
  return Math.sign(x) * (rounded > 65504 ? Infinity : rounded);
});

function computed(like, data) {
  return measured({shape: like.shape, dtype: like.dtype, size: like.size, complex: like.complex, data, whole: true});
}

function added(a, b) {
  if (!a || !b || !a.whole || !b.whole || a.size !== b.size) return null;
  const out = new a.data.constructor(a.data.length), round = a.dtype === "float16" ? toHalf : x => x;
  for (let k = 0; k < out.length; k++) out[k] = round(a.data[k] + b.data[k]);
  return computed(a, out);
}

function dot(a, b) {
  if (!a?.whole || !b?.whole || a.size !== b.size) return null;
  let sum = 0;
  for (let k = 0; k < a.data.length; k++) sum += Number(a.data[k]) * Number(b.data[k]);
  return sum;
}

const sameBits = (a, b) => a.data.length === b.data.length && a.data.every((x, k) => Object.is(x, b.data[k]));
