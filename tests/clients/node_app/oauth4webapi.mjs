// npm's `oauth4webapi`, unmodified: the same launch, step by step on the library's own primitives.
import * as oauth from "oauth4webapi";
import { lines, say, privateKey } from "./lines.mjs";

const input = lines();
const app = await input.next();
const insecure = { [oauth.allowInsecureRequests]: true };
const issuer = new URL(app.issuer);
const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, insecure));
const client = { client_id: app.clientId };
const authentication = app.secret
  ? oauth.ClientSecretPost(app.secret)
  : app.privateJwk
    ? oauth.PrivateKeyJwt(await privateKey(app.privateJwk))
    : oauth.None();

const verifier = oauth.generateRandomCodeVerifier();
const [state, nonce] = [oauth.generateRandomState(), oauth.generateRandomNonce()];
const url = new URL(server.authorization_endpoint);
const asked = {
  client_id: app.clientId,
  redirect_uri: app.redirectUri,
  response_type: "code",
  scope: app.scope,
  aud: app.fhirBase,
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  code_challenge_method: "S256",
  state,
  nonce,
};
for (const [name, value] of Object.entries(asked)) url.searchParams.set(name, value);
say({ url });

const returned = oauth.validateAuthResponse(server, client, new URL((await input.next()).url), state);
const tokens = await oauth.processAuthorizationCodeResponse(
  server,
  client,
  await oauth.authorizationCodeGrantRequest(
    server, client, authentication, returned, app.redirectUri, verifier, insecure,
  ),
  { expectedNonce: nonce, requireIdToken: true },
);
const claims = oauth.getValidatedIdTokenClaims(tokens);
const who = await oauth.processUserInfoResponse(
  server, client, claims.sub, await oauth.userInfoRequest(server, client, tokens.access_token, insecure),
);
say({ tokens: { patient: tokens.patient, scope: tokens.scope }, claims, who });

const read = async (token) => {
  const answer = await oauth.protectedResourceRequest(
    token, "GET", new URL(`${app.fhirBase}/${app.read}`), undefined, undefined, insecure,
  );
  return { status: answer.status, type: (await answer.json()).resourceType };
};
say({ read: await read(tokens.access_token) });

const refresh = async (token) =>
  oauth.processRefreshTokenResponse(
    server, client, await oauth.refreshTokenGrantRequest(server, client, authentication, token, insecure),
  );
const renewed = await refresh(tokens.refresh_token);
say({ renewed: renewed.access_token !== tokens.access_token, read: await read(renewed.access_token) });

await oauth.processRevocationResponse(
  await oauth.revocationRequest(server, client, authentication, renewed.refresh_token, insecure),
);
try {
  await refresh(renewed.refresh_token);
  say({ revoked: false });
} catch (refused) {
  say({ revoked: refused.error });
}
process.exit(0);
