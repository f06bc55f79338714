// Reads memory of its own, as much as its name says, as often as it is asked to, 128 bits at a time.
// The module is written out, since it is shorter than a tool that would make it.

const PAGES = Number(self.name) / 65536;
const number = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...number(n >>> 7)]); // LEB128
const section = (id, ...bytes) => [id, ...number(bytes.length), ...bytes];
const name = (text) => [text.length, ...new TextEncoder().encode(text)];

const [end, at, sums] = [0, 1, [2, 3, 4, 5, 6, 7, 8, 9]];
const [get, set, tee] = [0x20, 0x21, 0x22];
const xor = [0xfd, 0x51];
const read = [
  2, 1, 0x7f, 8, 0x7b, // locals: an i32, eight v128
  0x03, 0x40, // loop
  ...sums.flatMap((sum, i) => [get, sum, get, at, 0xfd, 0x00, 4, ...number(16 * i), ...xor, set, sum]), // sum ^= v128.load(at + 16 i)
  get, at, 0x41, ...[0x80, 0x01], 0x6a, tee, at, get, end, 0x49, 0x0d, 0, 0x0b, // (at += 128) < end: again
  get, sums[0], ...sums.slice(1).flatMap((sum) => [get, sum, ...xor]), 0xfd, 0x1b, 0, 0x0b, // the first lane of all together
];
const bytes = Uint8Array.from([
  0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
  ...section(1, 1, 0x60, 1, 0x7f, 1, 0x7f), // (i32) -> i32
  ...section(3, 1, 0),
  ...section(5, 1, 0, ...number(PAGES)),
  ...section(7, 2, ...name("memory"), 2, 0, ...name("read"), 0, 0),
  ...section(10, 1, ...number(read.length), ...read),
]);

const ready = WebAssembly.instantiate(bytes).then(({ instance: { exports } }) => {
  new Uint8Array(exports.memory.buffer).fill(1); // pages that nobody has written may be one
  return exports;
});

// Set at once: messages that arrive while a module waits are lost.
self.onmessage = async ({ data: times }) => {
  const { memory, read } = await ready;
  for (let i = 0; i < times; i++) read(memory.buffer.byteLength);
  self.postMessage(times * memory.buffer.byteLength);
};
