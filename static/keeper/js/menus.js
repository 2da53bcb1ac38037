// Menus are <details>; this adds what people expect of a menu: Escape, arrow keys, closing by a click elsewhere.

const open = () => [...document.querySelectorAll("details[data-menu][open]")];

document.addEventListener("click", (event) => {
  for (const menu of open()) if (!menu.contains(event.target)) menu.open = false;
});

document.addEventListener("keydown", (event) => {
  const menu = event.target.closest?.("details[data-menu]");
  if (event.key === "Escape") {
    for (const each of open()) {
      each.open = false;
      if (each.contains(event.target)) each.querySelector("summary").focus();
    }
    return;
  }
  // Arrows belong to the fields of a menu that holds some.
  if (!menu || menu.matches("[data-holds-fields]") || !["ArrowDown", "ArrowUp"].includes(event.key)) return;
  event.preventDefault();
  menu.open = true;
  const items = [...menu.querySelectorAll(".menu-panel a, .menu-panel button, .menu-panel input")].filter((item) => item.offsetParent);
  const at = items.indexOf(document.activeElement);
  const to = event.key === "ArrowDown" ? at + 1 : at - 1;
  items.at(to % items.length)?.focus();
});

document.addEventListener("toggle", (event) => {
  if (event.target.matches?.("details[data-menu]") && event.target.open) event.target.querySelector("[data-menu-filter]")?.focus();
}, true);

document.addEventListener("input", (event) => {
  if (!event.target.matches("[data-menu-filter]")) return;
  const wanted = event.target.value.trim().toLowerCase();
  const panel = event.target.closest(".menu-panel");
  for (const item of panel.querySelectorAll("a.menu-item, .picker button.menu-item")) {
    item.parentElement.hidden = !item.textContent.toLowerCase().includes(wanted);
  }
  for (const head of panel.querySelectorAll(".picker-head")) head.hidden = Boolean(wanted);
});

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-open-dialog]");
  if (opener) document.getElementById(opener.dataset.openDialog)?.showModal();
});

// The page takes the colour of the environment that its form chooses, and the switcher its name.
document.addEventListener("change", (event) => {
  if (!event.target.matches("[data-page-environment]")) return;
  const { classList } = document.body;
  for (const name of [...classList]) if (name.startsWith("env-")) classList.remove(name);
  classList.toggle("in-environment", Boolean(event.target.value));
  // The entries of the switcher begin with that of all environments.
  const entries = [...document.querySelectorAll(".switcher li > a[href]")];
  const named = (entry) => entry.querySelector(".environment-name")?.textContent === event.target.value;
  const entry = entries.find(named) || entries[0];
  const colour = [...(entry.querySelector(".environment")?.classList || [])].find((name) => name.startsWith("env-"));
  if (colour) classList.add(colour);
  const parts = entry.querySelector(".environment") ? [entry.querySelector(".environment")] : [...entry.children];
  const summary = document.querySelector(".switcher > summary");
  const [label, arrow] = [summary.firstElementChild, summary.lastElementChild];
  summary.replaceChildren(label, ...parts.map((part) => part.cloneNode(true)), arrow);
});
