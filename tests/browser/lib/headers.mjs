// Reads a site's `_headers` as the hosts do that know it: rules of a path, in which a star at the end stands for anything. Values that several
// rules have for a name are joined by commas.

import { readFileSync } from "node:fs";
import { join } from "node:path";

/** The headers of a path, by their names in lower case. */
export function headersOf(site, path) {
  const headers = {};
  let applies = false;
  for (const line of readFileSync(join(site, "_headers"), "utf8").split("\n")) {
    if (line.startsWith("/")) applies = line.endsWith("*") ? path.startsWith(line.slice(0, -1)) : path === line;
    else if (applies && line.trim() !== "") {
      const [name, value] = [line.split(":")[0].trim().toLowerCase(), line.slice(line.indexOf(":") + 1).trim()];
      headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`;
    }
  }
  return headers;
}
