// npm's `oidc-client-ts`, unmodified, its half that needs no browser. Input and output are those of openid_client.mjs.
import { InMemoryWebStorage, OidcClient, WebStorageStateStore } from "oidc-client-ts";
import { read } from "./asking.mjs";
import { lines, say } from "./lines.mjs";

const input = lines();
const app = await input.next();
const client = new OidcClient({
  authority: app.issuer,
  client_id: app.clientId,
  client_secret: app.secret,
  client_authentication: app.secret ? "client_secret_basic" : "client_secret_post",
  redirect_uri: app.redirectUri,
  scope: app.scope,
  loadUserInfo: true,
  filterProtocolClaims: false,
  extraQueryParams: { aud: app.fhirBase },
  stateStore: new WebStorageStateStore({ store: new InMemoryWebStorage() }),
});
const request = await client.createSigninRequest({ nonce: crypto.randomUUID(), max_age: 3600 });
say({ url: request.url });

const returned = await input.next();
const answer = await client.processSigninResponse(returned.url);
say({ tokens: { patient: answer.patient, scope: answer.scope }, claims: answer.profile, who: answer.profile });
say({ read: await read(app, answer.access_token) });

const session = { id_token: answer.id_token, profile: answer.profile, scope: answer.scope };
const renew = (token) => client.useRefreshToken({ state: { ...session, refresh_token: token } });
const renewed = await renew(answer.refresh_token);
say({ renewed: renewed.access_token !== answer.access_token, read: await read(app, renewed.access_token) });

await client.revokeToken(renewed.refresh_token, "refresh_token");
try {
  await renew(renewed.refresh_token);
  say({ revoked: false });
} catch (refused) {
  say({ revoked: refused.error });
}
process.exit(0);
