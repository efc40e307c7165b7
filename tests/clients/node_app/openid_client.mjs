// npm's `openid-client`, unmodified: one launch from discovery to revocation, each step a line of JSON.
//
// Standard input: a line with what the app is (issuer, fhirBase, clientId, redirectUri, scope, read, and a secret or
// a private key), then a line with the address to which the person was sent back.
import * as client from "openid-client";
import { lines, say, privateKey } from "./lines.mjs";

const input = lines();
const app = await input.next();
const authentication = app.secret
  ? client.ClientSecretBasic(app.secret)
  : app.privateJwk
    ? client.PrivateKeyJwt(await privateKey(app.privateJwk))
    : client.None();
const config = await client.discovery(new URL(app.issuer), app.clientId, undefined, authentication, {
  execute: [client.allowInsecureRequests],
});

const verifier = client.randomPKCECodeVerifier();
const [state, nonce] = [client.randomState(), client.randomNonce()];
const url = client.buildAuthorizationUrl(config, {
  redirect_uri: app.redirectUri,
  scope: app.scope,
  aud: app.fhirBase,
  code_challenge: await client.calculatePKCECodeChallenge(verifier),
  code_challenge_method: "S256",
  state,
  nonce,
  max_age: "3600",
});
say({ url });

const returned = await input.next();
const tokens = await client.authorizationCodeGrant(config, new URL(returned.url), {
  pkceCodeVerifier: verifier,
  expectedState: state,
  expectedNonce: nonce,
  maxAge: 3600,
  idTokenExpected: true,
});
const who = await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub);
say({ tokens: { patient: tokens.patient, scope: tokens.scope }, claims: tokens.claims(), who });

const read = async (token) => {
  const answer = await client.fetchProtectedResource(config, token, new URL(`${app.fhirBase}/${app.read}`), "GET");
  return { status: answer.status, type: (await answer.json()).resourceType };
};
say({ read: await read(tokens.access_token) });

const renewed = await client.refreshTokenGrant(config, tokens.refresh_token);
say({ renewed: renewed.access_token !== tokens.access_token, read: await read(renewed.access_token) });

await client.tokenRevocation(config, renewed.refresh_token);
try {
  await client.refreshTokenGrant(config, renewed.refresh_token);
  say({ revoked: false });
} catch (refused) {
  say({ revoked: refused.error });
}
process.exit(0);
