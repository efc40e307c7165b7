// A line of JSON in, a line of JSON out.
import { createInterface } from "node:readline";

export function lines() {
  const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  return { next: async () => JSON.parse((await input.next()).value) };
}

export function say(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

// A private JWK as the Web Crypto key that both libraries take.
export function privateKey(jwk) {
  const algorithm =
    jwk.kty === "EC" ? { name: "ECDSA", namedCurve: jwk.crv } : { name: "RSASSA-PKCS1-v1_5", hash: "SHA-384" };
  return crypto.subtle.importKey("jwk", jwk, algorithm, false, ["sign"]).then((key) => ({ key, kid: jwk.kid }));
}
