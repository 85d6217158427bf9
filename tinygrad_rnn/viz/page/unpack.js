// unpack.js unpacks the style, the body and the other scripts (viz/debugger.py: code).  They are packed by bzip2, which
// takes a tenth less than deflate, and which browsers do not have: this is its decoder, for one block.  (J. Seward,
// bzip2; M. Burrows and D. Wheeler, A Block-sorting Lossless Data Compression Algorithm, 1994.)
{
  const unpacked = bytes => {
    let at = 112; // in bits: behind what says that it is a block, and its checksum
    const bit = () => bytes[at >> 3] >> 7 - (at++ & 7) & 1;
    const bits = n => {
      let value = 0;
      while (n--) value = value * 2 + bit();
      return value;
    };
    const front = (list, k) => {
      const [item] = list.splice(k, 1);
      list.unshift(item);
      return item;
    };
    const origin = bits(25), letters = [];
    for (let k = 0, some = bits(16); k < 16; k++) {
      if (some >> 15 - k & 1) for (let j = 0, those = bits(16); j < 16; j++) if (those >> 15 - j & 1) letters.push(16 * k + j);
    }
    const symbols = letters.length + 2, order = Array.from({length: bits(3)}, (_, k) => k);
    const chosen = Array.from({length: bits(15)}, () => {
      let k = 0;
      while (bit()) k++;
      return front(order, k);
    });
    const tables = order.map(() => { // of Huffman codes, with a 1 before each
      let length = bits(5), code = 2;
      const table = new Map(), lengths = Array.from({length: symbols}, () => {
        while (bit()) length += bit() ? -1 : 1;
        return length;
      });
      for (let k = 1; k < 21; k++, code *= 2) lengths.forEach((n, symbol) => { if (n === k) table.set(code++, symbol); });
      return table;
    });
    const sorted = [], starts = new Array(257).fill(0);
    for (let k = 0, run = 0, weight = 1, symbol = 0; symbol < symbols - 1; k++) {
      const table = tables[chosen[Math.floor(k / 50)]];
      let code = 1;
      do code = code * 2 + bit(); while (!table.has(code));
      symbol = table.get(code);
      if (symbol < 2) {
        run += weight << symbol;
        weight *= 2;
      } else {
        for (; run; run--) sorted.push(letters[0]);
        weight = 1;
        if (symbol < symbols - 1) sorted.push(front(letters, symbol - 1));
      }
    }
    for (const letter of sorted) starts[letter + 1]++;
    for (let k = 1; k < 257; k++) starts[k] += starts[k - 1];
    const next = [], out = [];
    sorted.forEach((letter, k) => { next[starts[letter]++] = k; });
    let same = 0, place = origin;
    for (let k = 0; k < sorted.length; k++) {
      place = next[place];
      const letter = sorted[place], last = out[out.length - 1];
      if (same === 4) { // of one letter: the next says how many more
        for (let j = 0; j < letter; j++) out.push(last);
        same = 0;
      } else {
        same = letter === last ? same + 1 : 1;
        out.push(letter);
      }
    }
    return Uint8Array.from(out);
  };

  const bytes = document.currentScript.content; // from loader.js
  const end = 4 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true), packed = bytes.subarray(4, end);
  const [style, body, code] = new TextDecoder().decode(packed[0] === 66 ? unpacked(packed) : packed).split("\0");
  for (const [tag, text] of [["style", style], ["script", code]]) {
    const element = document.createElement(tag);
    element.textContent = text;
    element.content = bytes.subarray(end);
    if (tag === "script") document.body.insertAdjacentHTML("beforeend", body);
    document.head.append(element);
  }
}
