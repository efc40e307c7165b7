// npm's `simple-oauth2`, unmodified, which knows no PKCE: the app brings it. Input and output as in openid_client.mjs.
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { AuthorizationCode } from "simple-oauth2";
import { asked, claimsIn, discovered, read } from "./asking.mjs";
import { lines, say } from "./lines.mjs";

const input = lines();
const app = await input.next();
const endpoints = await discovered(app);
const path = (name) => new URL(endpoints[`${name}_endpoint`]).pathname;
const client = new AuthorizationCode({
  client: { id: app.clientId, secret: app.secret },
  auth: {
    tokenHost: app.issuer,
    tokenPath: path("token"),
    revokePath: path("revocation"),
    authorizePath: path("authorization"),
  },
});
const verifier = randomBytes(48).toString("base64url");
const state = randomUUID();
const url = client.authorizeURL({
  redirect_uri: app.redirectUri,
  scope: app.scope,
  state,
  aud: app.fhirBase,
  code_challenge: createHash("sha256").update(verifier).digest("base64url"),
  code_challenge_method: "S256",
});
say({ url });

const returned = new URL((await input.next()).url).searchParams;
if (returned.get("state") !== state) throw new Error("another state came back");
const exchange = { code: returned.get("code"), redirect_uri: app.redirectUri, code_verifier: verifier };
const first = await client.getToken(exchange);
const { access_token, id_token, patient, scope } = first.token;
const { userinfo_endpoint } = await (await fetch(`${app.issuer}/.well-known/openid-configuration`)).json();
const who = (await asked(userinfo_endpoint, access_token)).body;
say({ tokens: { patient, scope }, claims: claimsIn(id_token), who });
say({ read: await read(app, access_token) });

const renewed = await first.refresh();
say({ renewed: renewed.token.access_token !== access_token, read: await read(app, renewed.token.access_token) });

await renewed.revoke("refresh_token");
try {
  await renewed.refresh();
  say({ revoked: false });
} catch (refused) {
  say({ revoked: refused.data.payload.error });
}
process.exit(0);
