// The key of an encrypted store: random, and wrapped by a key that is derived from the passphrase. Another passphrase wraps it anew, so that
// no row needs to be encrypted again.

import { DataError } from "../errors";

/** A key that only its passphrase unwraps. */
export interface WrappedKey {
  salt: Uint8Array<ArrayBuffer>;
  /** Of PBKDF2 with SHA-256. */
  iterations: number;
  iv: Uint8Array<ArrayBuffer>;
  wrapped: ArrayBuffer;
}

/** OWASP asks for 600,000; about half a second on a slow computer. */
const ITERATIONS = 800_000;
const AES = { name: "AES-GCM", length: 256 } as const;

/** A random key, wrapped by a passphrase. */
export async function createKey(passphrase: string): Promise<{ key: CryptoKey; wrapped: WrappedKey }> {
  const made = await crypto.subtle.generateKey(AES, true, ["encrypt", "decrypt"]);
  const wrapped = await wrap(made, passphrase);
  // The one that stays in memory cannot be exported.
  return { key: await unwrapKey(wrapped, passphrase), wrapped };
}

/** The key. Rejects with "passphrase" if that is wrong. */
export function unwrapKey(wrapped: WrappedKey, passphrase: string): Promise<CryptoKey> {
  return unwrap(wrapped, passphrase, false);
}

/** The same key, wrapped by another passphrase. Rejects with "passphrase" if the first is wrong. */
export async function rewrapKey(wrapped: WrappedKey, from: string, to: string): Promise<WrappedKey> {
  return wrap(await unwrap(wrapped, from, true), to);
}

async function wrap(key: CryptoKey, passphrase: string): Promise<WrappedKey> {
  const salt = crypto.getRandomValues(new Uint8Array(16));
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const wrapping = await derive(passphrase, salt, ITERATIONS);
  return {
    salt,
    iterations: ITERATIONS,
    iv,
    wrapped: await crypto.subtle.wrapKey("raw", key, wrapping, { name: "AES-GCM", iv }),
  };
}

async function unwrap(
  { salt, iterations, iv, wrapped }: WrappedKey,
  passphrase: string,
  extractable: boolean,
): Promise<CryptoKey> {
  const wrapping = await derive(passphrase, salt, iterations);
  try {
    return await crypto.subtle.unwrapKey("raw", wrapped, wrapping, { name: "AES-GCM", iv }, AES, extractable, [
      "encrypt",
      "decrypt",
    ]);
  } catch (cause) {
    throw new DataError("passphrase", {}, { cause });
  }
}

async function derive(passphrase: string, salt: Uint8Array<ArrayBuffer>, iterations: number): Promise<CryptoKey> {
  // The same characters may be typed as different code points on different keyboards.
  const bytes = new TextEncoder().encode(passphrase.normalize("NFKC"));
  const base = await crypto.subtle.importKey("raw", bytes, "PBKDF2", false, ["deriveKey"]);
  return crypto.subtle.deriveKey({ name: "PBKDF2", hash: "SHA-256", salt, iterations }, base, AES, false, [
    "wrapKey",
    "unwrapKey",
  ]);
}
