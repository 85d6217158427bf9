// Python, in a worker of its own: the page stays alive, and what never ends can be ended.
// It gets the parts of Pyodide and the modules in one message, and programs in others.

let python = null;

// A page from the disk may start no module worker. Pyodide wants one, and tells it by this function; what it needs of it,
// import(), a plain worker has as well.
self.importScripts = undefined;

async function begin({ parts, modules }) {
  const plain = self.fetch;
  // Pyodide asks for its parts by address; they are here already
  self.fetch = async (address, ...more) => {
    const name = String(address.url ?? address).split("/").pop();
    if (!(name in parts)) return plain(address, ...more);
    const type = name.endsWith(".wasm") ? "application/wasm" : "application/octet-stream";
    return new Response(parts[name], { headers: { "Content-Type": type } });
  };
  const module = async (name) => {
    const address = URL.createObjectURL(new Blob([parts[name]], { type: "text/javascript" }));
    try {
      return await import(address);
    } finally {
      URL.revokeObjectURL(address);
    }
  };
  const { loadPyodide } = await module("pyodide.mjs");
  const engine = await module("pyodide.asm.mjs");
  python = await loadPyodide({
    indexURL: "http://parts.invalid/",
    createPyodideModule: engine.default,
    lockFileContents: JSON.parse(new TextDecoder().decode(parts["pyodide-lock.json"])),
    packageBaseUrl: "http://parts.invalid/",
    stdin: () => null,
    stdout: () => {},
    stderr: () => {},
  });
  for (const [path, text] of Object.entries(modules)) {
    python.FS.mkdirTree(`/live/${path}`.split("/").slice(0, -1).join("/"));
    python.FS.writeFile(`/live/${path}`, text);
  }
  python.runPython("import sys; sys.path.insert(0, '/live'); import session");
}

self.onmessage = async ({ data }) => {
  try {
    if (data.parts) {
      await begin(data);
      self.postMessage({ ready: python.runPython("sys.version.split()[0]") });
      return;
    }
    python.globals.set("program", data.program);
    self.postMessage({ id: data.id, result: python.runPython(`session.${data.action}(program)`) });
  } catch (error) {
    self.postMessage({ id: data.id ?? null, failed: String(error.message ?? error).trim().split("\n").pop() });
  }
};
