// A prelude to the engine on a page's thread: makes a prompt begin at `position` of the cache, which is empty before
// it. Decode does the same work as after a prompt of that length, without prefilling one.

(() => {
  globalThis.position = 0;
  const write = GPUQueue.prototype.writeBuffer;
  GPUQueue.prototype.writeBuffer = function (buffer, offset, data, ...rest) {
    if (buffer.label !== "state" || position === 0) return write.call(this, buffer, offset, data, ...rest);
    const state = new Uint8Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength)); // sizes are in its elements
    new Uint32Array(state.buffer)[0] += position;
    globalThis.moved = (globalThis.moved ?? 0) + 1;
    return write.call(this, buffer, offset, state, ...rest);
  };
})();
