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
  suggestDirection(form, boxes);
}

// A promotion goes to the first environment without the secrets, from the one before it that has them.
function suggestDirection(form, boxes) {
  const { left, right } = form.elements;
  const held = boxes.filter((box) => box.checked).map((box) => (box.dataset.heldIn ?? "").split(","));
  if (!left || !right || "directed" in form.dataset || !held.length) return;
  const places = [...left.options].map((option) => option.value);
  const goal = places.findIndex((place) => held.some((names) => !names.includes(place)));
  const sources = places.filter((place) => held.every((names) => names.includes(place)));
  if (goal < 0 || !sources.length) return;
  right.value = places[goal];
  left.value = sources.findLast((place) => places.indexOf(place) < goal) ?? sources[0];
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
  // Whoever chose a direction keeps it.
  if (event.target.matches("[name=left], [name=right]")) form.dataset.directed = "";
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
  if (!part?.matches("[data-takes-focus]") || part.contains(document.activeElement)) return;
  // Who has gone on to another field keeps it, and is told what came.
  if (document.activeElement === document.body) part.focus();
  else document.getElementById("announcer").textContent = part.querySelector("[data-told]")?.textContent || "";
});
