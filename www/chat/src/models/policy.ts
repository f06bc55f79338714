// What the page's policy lets it reach.

/** The policy of the page, as its document has it; undefined where it has none. */
export function policy(): string | undefined {
  return document.querySelector("meta[http-equiv='Content-Security-Policy']")?.getAttribute("content") ?? undefined;
}

/**
 * Whether `connect-src` has the address: 'self', an origin, or an origin with a star for its first labels. A worker is held to the policy
 * only where the server sends it as a header, so the page asks before it gives the engine an address.
 */
export function mayReach(address: string): boolean {
  const sources = /(?:^|;)\s*connect-src\s+([^;]*)/
    .exec(policy() ?? "")?.[1]
    ?.trim()
    .split(/\s+/);
  if (sources === undefined) return true;
  const { origin, protocol, host } = new URL(address, document.baseURI);
  return sources.some((source) => {
    if (source === "'self'") return origin === location.origin;
    const [, scheme, star, rest] = /^(https?:)\/\/(\*\.)?(.+)$/.exec(source) ?? [];
    return scheme === protocol && (star === undefined ? host === rest : host.endsWith(`.${rest}`));
  });
}
