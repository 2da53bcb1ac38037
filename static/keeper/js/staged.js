// Counts what will be applied: the plan's own changes, and the choices made about its conflicts. The choices are
// kept in the address, so that they survive a reload and a look at both sides of a conflict.
import { settle } from "./unsaved.js";

const isChoice = (field) =>
  field.name.startsWith("choice-") && field.value && (field.type === "hidden" || field.checked);
const choices = (form) => [...form.elements].filter(isChoice);

function count(form) {
  const total = Number(form.dataset.staged) + choices(form).length;
  const words = total ? `Apply ${total.toLocaleString("en")} change${total === 1 ? "" : "s"}` : "Apply choices";
  const button = form.querySelector("button[type=submit]");
  button.textContent = words;
  button.disabled = !total;
  if (!("confirm" in form.dataset)) return;
  form.dataset.confirm = form.dataset.confirm.replace(/^Apply .* change.* to /, `${words} to `);
  form.dataset.confirmGo = words;
}

function keep(form) {
  const query = new URLSearchParams(location.search);
  for (const name of [...query.keys()]) if (name.startsWith("choice-")) query.delete(name);
  for (const field of choices(form)) query.set(field.name, field.value);
  history.replaceState(history.state, "", query.size ? `?${query}` : location.pathname);
  settle(form);
  carry();
}

function carry() {
  for (const link of document.querySelectorAll("a[data-carries-choices]")) link.search = location.search;
}

function countAll() {
  document.querySelectorAll("form[data-staged]").forEach(count);
  carry();
}

document.addEventListener("change", (event) => {
  const form = event.target.form;
  if (!form?.matches("[data-staged]")) return;
  count(form);
  keep(form);
});
document.addEventListener("htmx:afterSwap", countAll);
addEventListener("pageshow", countAll);
countAll();
