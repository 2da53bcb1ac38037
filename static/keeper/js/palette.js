// The command palette: Ctrl+K or ⌘K. Pages, environments and actions are the links that the page has already;
// secrets come from the search of the top bar, which answers with what the person may see.
import { isToken } from "./tokens.js";

const dialog = document.getElementById("palette");
const field = dialog?.querySelector("[data-palette-field]");
const list = document.getElementById("palette-list");
const SHOWN = 8;
const DELAY = 150;
let asked = 0;
let timer = 0;

const links = (selector, kind) => [...document.querySelectorAll(selector)].map((link) => ({
  kind,
  href: link.getAttribute("href"),
  text: link.querySelector("span:not(.visually-hidden)")?.textContent.trim() || link.textContent.trim(),
  icon: link.querySelector(".icon"),
}));

const own = () => [
  ...links(".rail-list > li > .rail-link[href]", "Page"),
  ...links(".switcher .menu-panel a.menu-item", document.querySelector(".switcher")?.dataset.kind || "Environment"),
  ...links("[data-palette-actions] a", "Action"),
];

function option({ kind, href, text, icon }, index) {
  const item = document.createElement("li");
  item.id = `palette-${index}`;
  item.className = "palette-item";
  item.setAttribute("role", "option");
  item.dataset.href = href;
  if (icon) item.append(icon.cloneNode(true));
  const words = document.createElement("span");
  words.textContent = text;
  const what = document.createElement("span");
  what.className = "quiet";
  what.textContent = kind;
  item.append(words, what);
  return item;
}

function show(found) {
  const chosen = list.querySelector("[aria-selected=true]")?.dataset.href;
  list.replaceChildren(...found.map(option));
  dialog.querySelector(".palette-none").hidden = found.length > 0;
  const at = found.findIndex((each) => each.href === chosen);
  select(at < 0 ? 0 : at);
}

function select(index) {
  const all = [...list.children];
  const to = all.length ? (index + all.length) % all.length : -1;
  all.forEach((item, at) => item.setAttribute("aria-selected", String(at === to)));
  if (to < 0) return field.removeAttribute("aria-activedescendant");
  field.setAttribute("aria-activedescendant", all[to].id);
  all[to].scrollIntoView({ block: "nearest" });
}

async function secrets(text) {
  const answer = await fetch(`${dialog.dataset.searchUrl}?q=${encodeURIComponent(text)}`, {
    headers: { "HX-Request": "true" }, cache: "no-store", redirect: "error",
  });
  if (!answer.ok) return [];
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return [...page.querySelectorAll("a.menu-item")].map((link) => {
    const name = link.querySelector(".font-monospace")?.textContent.trim();
    const place = link.querySelector(".environment-name")?.textContent.trim();
    return {
      kind: name ? "Secret" : "Search",
      href: link.getAttribute("href"),
      text: name ? `${name} · ${place}` : link.textContent.trim(),
      icon: link.querySelector(".icon"),
    };
  });
}

async function fill() {
  const text = field.value.trim();
  const mine = ++asked;
  const words = text.toLowerCase().split(/\s+/);
  const here = own().filter((each) => words.every((word) => each.text.toLowerCase().includes(word)));
  show(here.slice(0, text ? SHOWN : 30));
  clearTimeout(timer);
  if (!text || isToken(text)) return;
  timer = setTimeout(async () => {
    const found = await secrets(text).catch(() => []);
    if (mine === asked) show([...here.slice(0, SHOWN), ...found]);
  }, DELAY);
}

function open() {
  if (!dialog || document.querySelector("dialog[open]")) return;
  field.value = "";
  fill();
  dialog.showModal();
  field.focus();
}

function follow(item) {
  if (!item) return;
  dialog.close();
  const link = document.createElement("a");
  link.href = item.dataset.href;
  link.hidden = true;
  document.body.append(link);
  link.click();
  link.remove();
}

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "k") {
    event.preventDefault();
    open();
  }
});

field?.addEventListener("input", fill);
field?.addEventListener("keydown", (event) => {
  const at = [...list.children].findIndex((item) => item.getAttribute("aria-selected") === "true");
  if (event.key === "ArrowDown") select(at + 1);
  else if (event.key === "ArrowUp") select(at - 1);
  else if (event.key === "Enter") follow(list.children[at]);
  else return;
  event.preventDefault();
});
list?.addEventListener("click", (event) => follow(event.target.closest("[role=option]")));
dialog?.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});
