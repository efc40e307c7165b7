// npm's `oidc-provider` for `python -m bench.tokens`, on PostgreSQL. The only argument is JSON: where it listens, its clients, how many
// codes to have ready. The codes go to standard output as one line of JSON once it listens.
import { createRequire } from "node:module";

const installed = new URL("../../tests/clients/", import.meta.url);
const { default: Provider } = await import(new URL("node_modules/oidc-provider/lib/index.js", installed));
const { Pool } = createRequire(new URL("package.json", installed))("pg");

const told = JSON.parse(process.argv[2]);
console.info = console.log = console.warn = console.error;
const pool = new Pool({ connectionString: told.database, max: 10 });
await pool.query(`CREATE TABLE oidc (model text, id text, grant_id text, payload jsonb NOT NULL, expires_at timestamptz,
  PRIMARY KEY (model, id))`);
await pool.query("CREATE INDEX ON oidc (grant_id)");

// What the library asks of a store: https://github.com/panva/node-oidc-provider, docs, "adapter".
class Rows {
  constructor(model) {
    this.model = model;
  }

  async upsert(id, payload, seconds) {
    await pool.query(
      `INSERT INTO oidc VALUES ($1, $2, $3, $4, now() + $5 * interval '1 second')
       ON CONFLICT (model, id) DO UPDATE SET payload = excluded.payload, expires_at = excluded.expires_at`,
      [this.model, id, payload.grantId, payload, seconds],
    );
  }

  async find(id) {
    const wanted = "SELECT payload FROM oidc WHERE model = $1 AND id = $2 AND (expires_at IS NULL OR expires_at > now())";
    const { rows } = await pool.query({ name: "find", text: wanted, values: [this.model, id] });
    return rows[0]?.payload;
  }

  async consume(id) {
    const at = Math.floor(Date.now() / 1000);
    const set = "UPDATE oidc SET payload = payload || jsonb_build_object('consumed', $3::int) WHERE model = $1 AND id = $2";
    await pool.query(set, [this.model, id, at]);
  }

  async destroy(id) {
    await pool.query("DELETE FROM oidc WHERE model = $1 AND id = $2", [this.model, id]);
  }

  async revokeByGrantId(grantId) {
    await pool.query("DELETE FROM oidc WHERE grant_id = $1", [grantId]);
  }
}

const provider = new Provider(told.issuer, {
  adapter: Rows,
  clients: told.clients,
  scopes: ["offline_access", "read"],
  features: {
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    devInteractions: { enabled: false },
  },
  clientAuthMethods: ["none", "client_secret_basic", "private_key_jwt"],
  enabledJWA: { clientAuthSigningAlgValues: ["ES384"] },
  findAccount: (ctx, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  issueRefreshToken: async () => true,
  rotateRefreshToken: true,
  cookies: { keys: ["a secret of the benchmark"] },
});

const client = await provider.Client.find("app");
const codes = [];
for (let n = 0; n < told.codes; n += 1) {
  const grant = new provider.Grant({ accountId: `p${n}`, clientId: "app" });
  grant.addOIDCScope("read offline_access");
  const code = new provider.AuthorizationCode({
    accountId: `p${n}`,
    client,
    codeChallenge: told.challenge,
    codeChallengeMethod: "S256",
    expiresIn: 3600,
    grantId: await grant.save(),
    redirectUri: told.redirect,
    scope: "read offline_access",
  });
  codes.push(await code.save());
}
provider.listen(told.port, "127.0.0.1", () => process.stdout.write(`${JSON.stringify(codes)}\n`));
