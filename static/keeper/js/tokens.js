// A token that is pasted where one searches stays here: an address is kept by browsers, proxies and logs.
const TOKEN = /kp[ru]_[A-Za-z0-9_-]{22}/;
const WORDS = "This looks like a token, and is not sent. Managers find whose it is in Rotation, Find a leak.";

export const isToken = (text) => TOKEN.test(text);

const isSearch = (field) => field.matches?.("input[name=q]") && field.form?.method !== "post";

document.addEventListener("input", (event) => {
  if (!isSearch(event.target)) return;
  event.target.setCustomValidity(isToken(event.target.value) ? WORDS : "");
  if (isToken(event.target.value)) event.target.reportValidity();
}, true);

// Also where the browser does not check the form.
document.addEventListener("submit", (event) => {
  const field = [...event.target.elements].find((each) => isSearch(each) && isToken(each.value));
  if (!field) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  field.setCustomValidity(WORDS);
  field.reportValidity();
}, true);

document.addEventListener("htmx:configRequest", (event) => {
  if (event.detail.verb === "get" && isToken(String(event.detail.parameters.q || ""))) event.preventDefault();
});
