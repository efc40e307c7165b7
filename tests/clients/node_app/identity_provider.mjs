// npm's `oidc-provider`, an OpenID Provider that isn't ours. Each line of input sets it up anew; the port stays.
import { createServer } from "node:http";
import Provider from "oidc-provider";
import { lines, say } from "./lines.mjs";

// Standard output is for `say`.
console.info = console.log = console.error;

const { next } = lines();
let current;

// Where the person signs in there: a name is enough. Leaving the name empty cancels.
async function interaction(provider, told, request, response) {
  const details = await provider.interactionDetails(request, response);
  if (request.method === "GET") {
    response.setHeader("Content-Type", "text/html; charset=utf-8");
    response.end(`<!doctype html><title>${details.prompt.name}</title><form method="post">
      <label for="login">Who are you?</label><input id="login" name="login" type="text">
      <button type="submit">Go on</button></form>`);
    return;
  }
  let body = "";
  for await (const piece of request) body += piece;
  const login = new URLSearchParams(body).get("login");
  const result = login
    ? { login: { accountId: login, amr: told.amr, acr: told.acr, remember: true } }
    : { error: "access_denied" };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}

function providerOf(told) {
  const provider = new Provider(told.issuer, {
    clients: told.clients,
    jwks: told.jwks,
    clientAuthMethods: told.methods,
    conformIdTokenClaims: false,
    claims: { openid: ["sub", "acr", "amr", "employee"] },
    cookies: { keys: ["a secret of the tests"] },
    features: { devInteractions: { enabled: false }, rpInitiatedLogout: { enabled: true } },
    interactions: { url: (ctx, details) => `/interaction/${details.uid}` },
    findAccount: (ctx, sub) => ({
      accountId: sub,
      claims: () => ({ sub, acr: told.acr, amr: told.amr, employee: `employee-${sub}` }),
    }),
    loadExistingGrant: async (ctx) => {
      const grant = new ctx.oidc.provider.Grant({
        clientId: ctx.oidc.client.clientId,
        accountId: ctx.oidc.session.accountId,
      });
      grant.addOIDCScope("openid");
      await grant.save();
      return grant;
    },
  });
  return provider;
}

const server = createServer(async (request, response) => {
  try {
    const { provider, told } = current;
    if (told.down) return request.socket.destroy();
    if (request.url.startsWith("/interaction/")) await interaction(provider, told, request, response);
    else await provider.callback()(request, response);
  } catch (problem) {
    response.statusCode = 500;
    response.end(String(problem));
  }
});

const { port } = await next();
server.listen(port, "127.0.0.1", () => say({ issuer: `http://127.0.0.1:${server.address().port}` }));
for (;;) {
  const told = await next();
  current = { told, provider: providerOf(told) };
  say({ ready: true });
}
