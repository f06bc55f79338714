// A prelude to the engine: counts the calls from wasm to JavaScript, by name.

(() => {
  const calls = (globalThis.imported = {});
  const wrap = (name, value) => {
    if (typeof value !== "function") return value;
    const short = name.replace(/_[0-9a-f]{16}$/, "").replace(/^__wbg_/, "");
    return function (...args) {
      calls[short] = (calls[short] ?? 0) + 1;
      return value.apply(this, args);
    };
  };
  const instantiate = WebAssembly.instantiate;
  WebAssembly.instantiate = (module, imports) => {
    const counted = Object.fromEntries(Object.entries(imports).map(([from, names]) => [from, Object.fromEntries(Object.entries(names).map(([name, value]) => [name, wrap(name, value)]))]));
    return instantiate(module, counted);
  };
})();
