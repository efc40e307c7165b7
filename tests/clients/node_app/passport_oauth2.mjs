// npm's `passport` and `passport-oauth2`, unmodified. Input and output as in openid_client.mjs.
//
// The library's own HTTP carries every request: `getOAuthAccessToken` and `get` are of the `oauth` package below it.
import passport from "passport";
import OAuth2Strategy from "passport-oauth2";
import { claimsIn, discovered } from "./asking.mjs";
import { lines, say } from "./lines.mjs";

class Smart extends OAuth2Strategy {
  authorizationParams() {
    return { aud: app.fhirBase };
  }
}

const input = lines();
const app = await input.next();
const endpoints = await discovered(app);
const options = {
  authorizationURL: endpoints.authorization_endpoint,
  tokenURL: endpoints.token_endpoint,
  clientID: app.clientId,
  clientSecret: app.secret ?? "",
  callbackURL: app.redirectUri,
  scope: app.scope.split(" "),
  state: true,
  pkce: "S256",
};
const strategy = new Smart(options, (access, refresh, told, _profile, done) => done(null, { access, refresh, told }));
passport.use("smart", strategy);
const oauth = strategy._oauth2;
oauth.useAuthorizationHeaderforGET(true);

const session = {};
function visit(query) {
  return new Promise((resolve, reject) => {
    const request = { method: "GET", url: "/", headers: {}, query, session };
    const response = { setHeader: (_name, location) => resolve(location), end: () => {} };
    const decided = (error, user, info) => (user ? resolve(user) : reject(error ?? new Error(info?.message)));
    passport.authenticate("smart", { session: false }, decided)(request, response, reject);
  });
}

function get(address, token) {
  return new Promise((resolve) => {
    oauth.get(address, token, (error, body, response) => {
      resolve({ status: error?.statusCode ?? response.statusCode, body: JSON.parse(error?.data ?? body) });
    });
  });
}

async function read(token) {
  const { status, body } = await get(`${app.fhirBase}/${app.read}`, token);
  return { status, type: body.resourceType };
}

function renew(token) {
  return new Promise((resolve) => {
    oauth.getOAuthAccessToken(token, { grant_type: "refresh_token" }, (error, access, refresh) => {
      resolve(error ? { error: JSON.parse(error.data).error } : { access, refresh });
    });
  });
}

say({ url: await visit({}) });
const returned = new URL((await input.next()).url).searchParams;
const user = await visit(Object.fromEntries(returned));
const { userinfo_endpoint } = await (await fetch(`${app.issuer}/.well-known/openid-configuration`)).json();
const who = (await get(userinfo_endpoint, user.access)).body;
const { patient, scope, id_token } = user.told;
say({ tokens: { patient, scope }, claims: claimsIn(id_token), who });
say({ read: await read(user.access) });

const renewed = await renew(user.refresh);
say({ renewed: renewed.access !== user.access, read: await read(renewed.access) });

// It has no revocation: the app's own request.
const body = new URLSearchParams({ token: renewed.refresh, client_id: app.clientId });
if (app.secret) body.set("client_secret", app.secret);
await fetch(endpoints.revocation_endpoint, { method: "POST", body });
say({ revoked: (await renew(renewed.refresh)).error });
process.exit(0);
