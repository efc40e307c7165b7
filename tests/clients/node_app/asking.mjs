// What libraries that speak OAuth 2.0 only leave to the app: discovery, claims and reading.
export async function discovered(app) {
  return (await fetch(`${app.fhirBase}/.well-known/smart-configuration`)).json();
}

export function claimsIn(idToken) {
  return JSON.parse(Buffer.from(idToken.split(".")[1], "base64url"));
}

export async function asked(address, token) {
  const answer = await fetch(address, { headers: { Authorization: `Bearer ${token}` } });
  return { status: answer.status, body: await answer.json() };
}

export async function read(app, token) {
  const { status, body } = await asked(`${app.fhirBase}/${app.read}`, token);
  return { status, type: body.resourceType };
}
