// Asks before a form with data-confirm is sent; where a name must be typed, until it is typed.

const dialog = document.getElementById("confirm");
const confirmed = new WeakSet();
let waiting = null;

function ask(form, submitter) {
  waiting = { form, submitter };
  const { confirm, confirmText = "", confirmGo = "Go on", confirmTyped = "" } = form.dataset;
  dialog.querySelector("#confirm-title").textContent = confirm;
  dialog.querySelector("#confirm-text").textContent = confirmText;
  const go = dialog.querySelector("#confirm-go");
  go.textContent = confirmGo;
  go.className = "confirmDanger" in form.dataset ? "btn btn-danger" : "btn btn-primary";
  const typed = dialog.querySelector("#confirm-typed");
  typed.value = "";
  typed.closest("label").hidden = !confirmTyped;
  dialog.querySelector("#confirm-expected").textContent = confirmTyped;
  go.disabled = Boolean(confirmTyped);
  dialog.returnValue = "";
  dialog.showModal();
  (confirmTyped ? typed : go).focus();
}

if (dialog) {
  // Capturing, so that htmx does not see the submission before it is confirmed.
  document.addEventListener(
    "submit",
    (event) => {
      const form = event.target.closest("form[data-confirm]");
      if (!form || confirmed.delete(form)) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      ask(form, event.submitter);
    },
    true,
  );

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
    const asked = waiting;
    waiting = null;
    if (dialog.returnValue !== "confirm" || !asked?.form.isConnected) return;
    confirmed.add(asked.form);
    asked.form.requestSubmit(asked.submitter);
  });
}

// The confirmation page keeps its button closed until the name is typed.
for (const input of document.querySelectorAll("[data-must-equal]")) {
  const button = input.form.querySelector("[type=submit]");
  const check = () => (button.disabled = input.value !== input.dataset.mustEqual);
  input.addEventListener("input", check);
  check();
}
