// The only script that stands in the page as text: it unpacks the others.  They, the style and the tape are deflated, in
// the alphabet of RFC 1924 (four bytes in five letters); in the package they are the files beside this one.
(async () => {
  const say = text => { document.getElementById("loading").textContent = text; };
  try {
    const text = document.getElementById("content").textContent, letters =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
    const places = new Uint8Array(128), bytes = new Uint8Array(Math.ceil(text.length / 5) * 4);
    for (let k = 0; k < 85; k++) places[letters.charCodeAt(k)] = k;
    for (let k = 0, at = 0; k < text.length; at += 4) {
      let word = 0;
      for (const end = k + 5; k < end; k++) word = word * 85 + (k < text.length ? places[text.charCodeAt(k)] : 84);
      bytes[at] = word / 16777216;
      bytes[at + 1] = word >>> 16;
      bytes[at + 2] = word >>> 8;
      bytes[at + 3] = word;
    }
    const packed = bytes.subarray(0, Math.floor(text.length * 4 / 5));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    const content = new Uint8Array(await new Response(stream).arrayBuffer());
    const length = new DataView(content.buffer).getUint32(0, true);
    const parts = JSON.parse(new TextDecoder().decode(content.subarray(4, 4 + length)));
    for (const [tag, code] of [["style", parts.style], ["script", parts.script]]) {
      const element = document.createElement(tag);
      element.textContent = code;
      element.content = content.subarray(4 + length);
      if (tag === "script") document.body.insertAdjacentHTML("beforeend", parts.body);
      document.head.append(element);
    }
    say("");
  } catch (error) {
    say(`This page needs a browser of 2023 or newer: ${error}`);
  }
})();
