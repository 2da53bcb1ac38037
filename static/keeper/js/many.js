// Pages that act on many secrets: selecting rows, and a keyboard that follows what is swapped in.

function count(form) {
  const boxes = [...form.querySelectorAll("tbody input[type=checkbox]")];
  const chosen = boxes.filter((box) => box.checked).length;
  const all = form.querySelector("[data-select-all]");
  if (all) {
    all.checked = chosen > 0 && chosen === boxes.length;
    all.indeterminate = chosen > 0 && chosen < boxes.length;
  }
  const words = form.querySelector("[data-selected]");
  if (words) words.textContent = `${chosen} selected`;
  for (const button of form.querySelectorAll("[data-needs-selection]")) button.disabled = !chosen;
}

const countAll = () => document.querySelectorAll("form[data-select]").forEach(count);

document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-select]");
  if (!form) return;
  if (event.target.matches("[data-select-all]")) {
    for (const box of form.querySelectorAll("tbody input[type=checkbox]")) box.checked = event.target.checked;
  }
  count(form);
});
document.addEventListener("htmx:afterSwap", countAll);
// A page that Back brings up again may come with its boxes ticked.
addEventListener("pageshow", countAll);
countAll();

document.addEventListener("htmx:afterSettle", (event) => {
  const part = document.getElementById(event.detail.target?.id || event.target.id);
  if (part?.matches("[data-takes-focus]") && !part.contains(document.activeElement)) part.focus();
});
