// The only script that stands in the page as text.  The rest is deflated, 13 bits in two of 91 letters (viz/payload.py:
// encoded); it begins with another script, which unpacks what follows.
(async () => {
  const $ = id => document.getElementById(id);
  try {
    const text = $("content").textContent, packed = new Uint8Array(text.length * 13 / 16);
    const letter = k => { const code = (text.charCodeAt(k) || 35) - 35; return code - (code > 25); };
    for (let k = 0, at = 0, bits = 0, held = 0; k < text.length; k += 2) {
      held |= letter(k) + letter(k + 1) * 91 << bits;
      for (bits += 13; bits > 7; bits -= 8) {
        packed[at++] = held;
        held >>= 8;
      }
    }
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    const content = new Uint8Array(await new Response(stream).arrayBuffer()), end = content.indexOf(0);
    const script = document.createElement("script");
    script.textContent = new TextDecoder().decode(content.subarray(0, end));
    script.content = content.subarray(end + 1);
    document.head.append(script);
  } catch (error) {
    $("loading").textContent = `This page needs a browser of 2023 or newer: ${error}`;
  }
})();
