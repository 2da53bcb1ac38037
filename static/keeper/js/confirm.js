// Asks a question in a dialog; where a name must be typed, until it is typed.

const dialog = document.getElementById("confirm");
let answer = null;

// Resolves to true if the person chose to go on. `careful` puts the focus on the other button.
export function ask({ title, text = "", go = "Confirm", stay = "Cancel", danger = false, careful = false, typed = "" }) {
  answer?.(false);
  dialog.querySelector("#confirm-title").textContent = title;
  dialog.querySelector("#confirm-text").textContent = text;
  const button = dialog.querySelector("#confirm-go");
  button.textContent = go;
  button.className = danger ? "btn btn-danger" : "btn btn-primary";
  const other = dialog.querySelector("#confirm-stay");
  other.textContent = stay;
  const field = dialog.querySelector("#confirm-typed");
  field.value = "";
  field.closest("label").hidden = !typed;
  dialog.querySelector("#confirm-expected").textContent = typed;
  button.disabled = Boolean(typed);
  dialog.returnValue = "";
  dialog.showModal();
  if (typed) field.focus();
  else (careful ? other : button).focus();
  return new Promise((resolve) => (answer = resolve));
}

// What a form with data-confirm asks before it is sent.
export const askForForm = ({ dataset }) =>
  ask({
    title: dataset.confirm,
    text: dataset.confirmText,
    go: dataset.confirmGo,
    danger: "confirmDanger" in dataset,
    typed: dataset.confirmTyped,
  });

if (dialog) {
  dialog.addEventListener("input", () => {
    const expected = dialog.querySelector("#confirm-expected").textContent;
    dialog.querySelector("#confirm-go").disabled = dialog.querySelector("#confirm-typed").value !== expected;
  });

  // Enter in the field presses the first button of a form, which here is "Cancel": take it over.
  dialog.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.target.id !== "confirm-typed") return;
    event.preventDefault();
    const go = dialog.querySelector("#confirm-go");
    if (!go.disabled) dialog.close("confirm");
  });

  dialog.addEventListener("close", () => {
    // Told late, of a question before the one that is open now.
    if (dialog.open) return;
    const resolve = answer;
    answer = null;
    resolve?.(dialog.returnValue === "confirm");
  });
}

// The confirmation page keeps its button closed until the name is typed.
for (const input of document.querySelectorAll("[data-must-equal]")) {
  const button = input.form.querySelector("[type=submit]");
  const check = () => (button.disabled = input.value !== input.dataset.mustEqual);
  input.addEventListener("input", check);
  check();
}
