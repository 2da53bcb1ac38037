// Asks the browser for a passkey and sends its answer with the form. The buttons stay hidden in a browser without passkeys.

function fail(form, text) {
  const place = form.querySelector("[data-passkey-error]");
  place.textContent = text;
  place.hidden = false;
}

async function answerTo(button) {
  if (button.dataset.passkeyGet) {
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(JSON.parse(button.dataset.passkeyGet));
    return navigator.credentials.get({ publicKey });
  }
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(JSON.parse(button.dataset.passkeyCreate));
  return navigator.credentials.create({ publicKey });
}

async function use(button) {
  const form = button.form;
  const code = form.querySelector("[autocomplete=one-time-code]");
  if (code) code.required = false;
  if (!form.reportValidity()) return;
  button.disabled = true;
  try {
    const credential = await answerTo(button);
    form.querySelector("[name$=passkey]").value = JSON.stringify(credential.toJSON());
    form.requestSubmit();
  } catch (error) {
    const known = error.name === "InvalidStateError";
    fail(form, known ? "This device already has a passkey for your account." : "No passkey was used. Try again, or enter a code.");
    button.disabled = false;
    if (code) code.required = true;
  }
}

if (window.PublicKeyCredential?.parseRequestOptionsFromJSON) {
  for (const button of document.querySelectorAll("[data-passkey-get], [data-passkey-create]")) button.hidden = false;
}
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-passkey-get], [data-passkey-create]");
  if (button) use(button);
});
