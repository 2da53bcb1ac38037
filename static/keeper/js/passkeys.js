// Asks the browser for a passkey and sends its answer with the form. The buttons stay hidden in a browser without passkeys.

// What the browser offers in a field meanwhile; a button takes its place.
let offered = null;

function fail(form, text) {
  const place = form.querySelector("[data-passkey-error]");
  place.textContent = text;
  place.hidden = false;
}

async function answerTo(button, options = {}) {
  if (button.dataset.passkeyGet) {
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(JSON.parse(button.dataset.passkeyGet));
    return navigator.credentials.get({ publicKey, ...options });
  }
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(JSON.parse(button.dataset.passkeyCreate));
  return navigator.credentials.create({ publicKey });
}

function send(form, credential) {
  form.querySelector("[name$=passkey]").value = JSON.stringify(credential.toJSON());
  form.requestSubmit();
}

// What the passkey takes the place of need not be filled in: the password too, where the device has to check its person.
function replaced(button) {
  const alone = button.dataset.passkeyGet && JSON.parse(button.dataset.passkeyGet).userVerification === "required";
  const names = `[autocomplete=one-time-code]${alone ? ", [autocomplete=current-password]" : ""}`;
  return [...button.form.querySelectorAll(names)].filter((field) => field.required);
}

async function use(button) {
  const form = button.form;
  const fields = replaced(button);
  for (const field of fields) field.required = false;
  if (!form.reportValidity()) return;
  button.disabled = true;
  offered?.abort();
  try {
    send(form, await answerTo(button));
  } catch (error) {
    const known = error.name === "InvalidStateError";
    const otherwise = form.querySelector("[autocomplete=one-time-code]") || button.dataset.passkeyCreate ? "enter a code" : "sign in with your password";
    fail(form, known ? "This device already has a passkey for your account." : `No passkey was used. Try again, or ${otherwise}.`);
    button.disabled = false;
    for (const field of fields) field.required = true;
  }
}

// Lets the browser show its passkeys in the field for the username.
async function offer(button) {
  if (!button || !(await PublicKeyCredential.isConditionalMediationAvailable?.())) return;
  offered = new AbortController();
  try {
    send(button.form, await answerTo(button, { mediation: "conditional", signal: offered.signal }));
  } catch {
    // Nothing was chosen there: the button is still there.
  }
}

if (window.PublicKeyCredential?.parseRequestOptionsFromJSON) {
  for (const button of document.querySelectorAll("[data-passkey-get], [data-passkey-create]")) button.hidden = false;
  offer(document.querySelector("[data-passkey-offer]"));
}
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-passkey-get], [data-passkey-create]");
  if (button) use(button);
});
