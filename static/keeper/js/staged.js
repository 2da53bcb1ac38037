// Counts what will be applied: the plan's own changes, and the choices made about its conflicts.

function count(form) {
  const chosen = [...form.elements].filter((field) => field.type === "radio" && field.checked && field.value).length;
  const total = Number(form.dataset.staged) + chosen;
  const words = total ? `Apply ${total.toLocaleString("en")} change${total === 1 ? "" : "s"}` : "Apply choices";
  const button = form.querySelector("button[type=submit]");
  button.textContent = words;
  button.disabled = !total;
  if (!("confirm" in form.dataset)) return;
  form.dataset.confirm = form.dataset.confirm.replace(/^Apply .* change.* to /, `${words} to `);
  form.dataset.confirmGo = words;
}

const countAll = () => document.querySelectorAll("form[data-staged]").forEach(count);

document.addEventListener("change", (event) => {
  const form = event.target.form;
  if (form?.matches("[data-staged]")) count(form);
});
document.addEventListener("htmx:afterSwap", countAll);
addEventListener("pageshow", countAll);
countAll();
