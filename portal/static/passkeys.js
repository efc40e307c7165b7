// Forms that a passkey completes: asks this server for options, the browser for an answer, and sends the form with it.
// A form of `data-passkey` is shown only where the browser can do it; everything else works without this file.
"use strict";

const asked = {
  get: async (options) =>
    navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) }),
  create: async (options) =>
    navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) }),
};

async function optionsOf(form) {
  const answer = await fetch(form.dataset.options, {
    method: "POST",
    body: new URLSearchParams(new FormData(form)),
    redirect: "error",
  });
  if (!answer.ok) throw new Error("no options");
  return answer.json();
}

function show(form, problem) {
  for (const notice of document.querySelectorAll("[data-problem]")) {
    notice.hidden = notice.dataset.problem !== problem;
  }
  form.querySelector("button[type=submit]").disabled = false;
}

async function complete(form) {
  form.querySelector("button[type=submit]").disabled = true;
  try {
    const credential = await asked[form.dataset.passkey](await optionsOf(form));
    form.elements.credential.value = JSON.stringify(credential.toJSON());
    form.submit();
  } catch (problem) {
    const known = { NotAllowedError: "cancelled", AbortError: "cancelled", InvalidStateError: "known" };
    show(form, known[problem.name] ?? "failed");
  }
}

const able = typeof PublicKeyCredential === "function" && "parseRequestOptionsFromJSON" in PublicKeyCredential;
for (const form of document.querySelectorAll("form[data-passkey]")) {
  form.hidden = !able;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    complete(form);
  });
}
for (const notice of document.querySelectorAll("[data-without-passkeys]")) notice.hidden = able;
// Back from another page: the button works again.
addEventListener("pageshow", () => document.querySelectorAll("form[data-passkey]").forEach((form) => show(form, null)));
