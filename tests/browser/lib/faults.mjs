// The kinds of transport fault for the soak campaign and the tests: what happens to a fraction of the requests.
// A kind is created for one run with a random generator, and returns the fault for each request for a weight file.

/** The fraction of requests with the fault. */
const SHARE = 0.25;

/** A fault of any request. */
const some = (fault) => (r) => () => (r() < SHARE ? fault(r) : undefined);

/** A fault of any request except the one that opens a file, because a wrong response to that cannot be detected. */
const inside = (fault) => (r) => ({ range }) => (!/^bytes=0-(0|65535)$/.test(range) && r() < SHARE ? fault(r) : undefined);

const page = { "content-type": "text/html" };
const HTML = "<!doctype html><title>Sign in</title><p>This network wants you to sign in.</p>";

export const KINDS = {
  none: () => () => undefined,
  // Ranges
  range_200: some(() => ({ ignoreRange: true })),
  range_200_always: () => () => ({ ignoreRange: true }),
  range_before: inside(() => ({ shift: -1 })),
  range_after: some(() => ({ shift: 1 })),
  h416: inside(() => ({ status: 416 })),
  // Responses that end early, late or never
  cut_early: some(() => ({ cutAfter: 1 })),
  cut_late: some((r) => ({ cutAfter: 1 + Math.floor(r() * 900_000) })),
  reset: some((r) => ({ cutAfter: 1 + Math.floor(r() * 900_000), reset: true })),
  no_answer: some(() => ({ drop: true })),
  stall: some(() => ({ hang: true })),
  stall_midway: some((r) => ({ stallAfter: 1 + Math.floor(r() * 900_000) })),
  trickle: some(() => ({ trickle: true })),
  length_long: some(() => ({ extra: 1000 })),
  range_long: some(() => ({ extra: 1000, chunked: true })),
  gzip: some(() => ({ gzip: true })),
  // Statuses
  h408: some(() => ({ status: 408 })),
  h429_retry_after: some(() => ({ status: 429, headers: { "retry-after": "5" } })),
  h429_ratelimit: some(() => ({ status: 429, headers: { ratelimit: '"api";r=0;t=8' } })),
  h500: some(() => ({ status: 500 })),
  h502_html: some(() => ({ status: 502, headers: page, body: HTML })),
  h503_thrice: (r) => {
    // Three failures in a row, then a response.
    let left = -1;
    return () => {
      if (left < 0 && r() < SHARE) left = 3;
      return left >= 0 && left-- > 0 ? { status: 503 } : undefined;
    };
  },
  page_200: inside(() => ({ status: 200, headers: page, body: HTML })),
  // Identity and location of a file
  etag_weak: some(() => ({ weak: true })),
  etag_change: () => () => undefined, // by the campaign: a new version of all files from some request on
  signed_urls: (r) => {
    const used = new Map();
    return ({ path, query }) => {
      const left = used.get(query);
      if (query === "" || left === undefined) {
        const signature = `?signature=${Math.floor(r() * 1e9)}`;
        used.set(signature, 1 + Math.floor(r() * 4));
        return { status: 302, headers: { location: `${path}${signature}` } };
      }
      used.set(query, left - 1);
      return left > 0 ? undefined : { status: 403 };
    };
  },
  cors_missing: some(() => ({ cors: false })), // from another origin
  cors_hidden: () => () => ({ expose: "" }), // from another origin, which exposes neither tags nor ranges
  mixed: (r) => {
    const names = ["range_200", "range_after", "cut_early", "cut_late", "reset", "no_answer", "h429_retry_after", "h503_thrice", "gzip"];
    const made = names.map((name) => KINDS[name](r));
    return (request) => made[Math.floor(r() * made.length)](request);
  },
};
