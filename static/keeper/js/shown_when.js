// Hides the fields of a form that another field's choice makes needless; without this module all of them are shown.

function chosen(form, name) {
  const field = form.elements.namedItem(name);
  return field?.value;
}

function update(form) {
  for (const field of form.querySelectorAll("[data-shown-when]")) {
    const [name, value] = field.dataset.shownWhen.split("=");
    field.closest(".field, .form-row").hidden = chosen(form, name) !== value;
  }
}

const updateAll = () => {
  for (const form of document.forms) if (form.querySelector("[data-shown-when]")) update(form);
};

document.addEventListener("change", (event) => {
  if (event.target.form?.querySelector("[data-shown-when]")) update(event.target.form);
});
addEventListener("pageshow", updateAll);
updateAll();
