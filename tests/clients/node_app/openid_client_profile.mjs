// npm's `openid-client`, unmodified, with the whole security profile: a request that is signed (if the app has a key)
// and pushed, tokens that are bound to a key by DPoP, and what becomes of them in other hands.
//
// Standard input as for `openid_client.mjs`, with `details`: what it asks for by `authorization_details`.
import * as client from "openid-client";
import { lines, say, privateKey } from "./lines.mjs";

const input = lines();
const app = await input.next();
const key = app.privateJwk && (await privateKey(app.privateJwk));
const config = await client.discovery(
  new URL(app.issuer),
  app.clientId,
  undefined,
  key ? client.PrivateKeyJwt(key) : client.None(),
  { execute: [client.allowInsecureRequests] },
);
const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair("ES256"));
const verifier = client.randomPKCECodeVerifier();
const state = client.randomState();
const asked = {
  redirect_uri: app.redirectUri,
  scope: app.scope,
  // In a request object `aud` is the JWT's, so the FHIR base goes by RFC 8707.
  resource: app.fhirBase,
  code_challenge: await client.calculatePKCECodeChallenge(verifier),
  code_challenge_method: "S256",
  state,
  authorization_details: JSON.stringify(app.details),
};
const parameters = key ? (await client.buildAuthorizationUrlWithJAR(config, asked, key)).searchParams : asked;
const url = await client.buildAuthorizationUrlWithPAR(config, parameters, { DPoP });
say({ url, parameters: [...url.searchParams.keys()].sort() });

const returned = await input.next();
const tokens = await client.authorizationCodeGrant(
  config,
  new URL(returned.url),
  { pkceCodeVerifier: verifier, expectedState: state, idTokenExpected: true },
  undefined,
  { DPoP },
);
const who = await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub, { DPoP });
say({ type: tokens.token_type, patient: tokens.patient, who: who.fhirUser, details: tokens.authorization_details });

const resource = new URL(`${app.fhirBase}/${app.read}?_summary=false`);
const read = async (token, options) => {
  try {
    return (await client.fetchProtectedResource(config, token, resource, "GET", undefined, undefined, options)).status;
  } catch (refused) {
    return refused.status ?? refused.cause?.status ?? refused.code;
  }
};
const thief = client.getDPoPHandle(config, await client.randomDPoPKeyPair("ES256"));
say({
  read: await read(tokens.access_token, { DPoP }),
  asBearer: await read(tokens.access_token),
  byAnotherKey: await read(tokens.access_token, { DPoP: thief }),
});

const outcome = async (asking) => {
  try {
    return (await asking).token_type;
  } catch (refused) {
    return refused.error;
  }
};
const refresh = (options) => outcome(client.refreshTokenGrant(config, tokens.refresh_token, undefined, options));
say({ unproven: await refresh(), byAnotherKey: key ? "not tried" : await refresh({ DPoP: thief }), mine: await refresh({ DPoP }) });
process.exit(0);
