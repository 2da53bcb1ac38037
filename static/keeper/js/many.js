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
  const bar = form.querySelector("[data-selection-bar]");
  bar?.toggleAttribute("data-shown", chosen > 0);
  for (const button of form.querySelectorAll("[data-needs-selection]")) button.disabled = !chosen;
  offerMatching(form, chosen, boxes.length);
}

// Once a whole page is selected, the rest of what the filters find is offered as well.
function offerMatching(form, chosen, shown) {
  const offer = form.querySelector("[data-select-matching]");
  if (!offer) return;
  form.elements.matching.value = "";
  offer.hidden = chosen < shown || Number(offer.dataset.matching) <= shown;
}

function selectMatching(offer) {
  const form = offer.form;
  form.elements.matching.value = "1";
  form.querySelector("[data-selected]").textContent = `${Number(offer.dataset.matching).toLocaleString("en")} selected`;
  offer.hidden = true;
}

document.addEventListener("click", (event) => {
  const offer = event.target.closest("[data-select-matching]");
  if (offer) return selectMatching(offer);
  const none = event.target.closest("[data-select-none]");
  if (!none) return;
  for (const box of none.form.querySelectorAll("input[type=checkbox]")) box.checked = false;
  count(none.form);
});

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

// An act on more secrets than one request takes goes on with the next part.
document.querySelector("form[data-continues]")?.requestSubmit();

document.addEventListener("htmx:afterSettle", (event) => {
  const part = document.getElementById(event.detail.target?.id || event.target.id);
  if (part?.matches("[data-takes-focus]") && !part.contains(document.activeElement)) part.focus();
});
