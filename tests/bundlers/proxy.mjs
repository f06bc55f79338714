// A server before another one: it logs requests and sets headers, as `serve` of tests/browser/lib/server.mjs does for files.

import { createServer, request as ask } from "node:http";
import { connect } from "node:net";

export async function proxy(port) {
  const state = { requests: [], headers: {} };
  const server = createServer((request, response) => {
    state.requests.push({ path: request.url, query: "", method: request.method });
    const asked = ask({ host: "localhost", port, path: request.url, method: request.method, headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode, { ...answer.headers, ...state.headers });
      answer.pipe(response);
    });
    asked.on("error", () => response.destroy());
    request.pipe(asked);
  });
  // Development servers talk to their pages by WebSocket.
  server.on("upgrade", (request, socket, head) => {
    const other = connect(port, "localhost", () => {
      const headers = Object.entries(request.headers).map(([name, value]) => `${name}: ${value}`);
      other.write(`${[`GET ${request.url} HTTP/1.1`, ...headers].join("\r\n")}\r\n\r\n`);
      other.write(head);
      other.pipe(socket).pipe(other);
    });
    for (const [one, another] of [[socket, other], [other, socket]]) {
      one.on("error", () => another.destroy());
      one.on("close", () => another.destroy());
    }
    state.sockets.push(socket);
  });
  state.sockets = [];
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  state.origin = `http://localhost:${server.address().port}`;
  state.close = () => {
    for (const socket of state.sockets) socket.destroy();
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return state;
}
