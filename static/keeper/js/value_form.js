// The form in which a value is written: hidden while typed, counted in bytes, filled by a generator.

const field = document.querySelector("[data-value-field]");
const area = field?.querySelector("textarea");
let filled = ""; // what the generator wrote, so that it may replace its own work unasked

function conceal(hidden) {
  const button = field.querySelector("[data-conceal]");
  area.classList.toggle("concealed", hidden);
  button.setAttribute("aria-pressed", String(!hidden));
  button.querySelector("span").textContent = hidden ? "Show" : "Hide";
  const use = button.querySelector("use");
  use.setAttribute("href", use.getAttribute("href").replace(/#.*/, hidden ? "#eye" : "#eye-off"));
}

function count() {
  const bytes = new TextEncoder().encode(area.value).length;
  const most = Number(field.dataset.maxBytes);
  const words = field.querySelector("[data-bytes]");
  words.textContent = `${bytes.toLocaleString()} of ${most.toLocaleString()} bytes`;
  words.classList.toggle("state-bad", bytes > most);
}

function use(text) {
  area.value = filled = text;
  // As if it had been typed: it is lost in the same way.
  area.dispatchEvent(new Event("input", { bubbles: true }));
}

if (area) {
  conceal(true);
  count();
  area.addEventListener("input", count);
  field.querySelector("[data-conceal]").addEventListener("click", () => conceal(!area.classList.contains("concealed")));

  document.addEventListener("htmx:afterSettle", () => {
    const made = document.querySelector("[data-generated]");
    if (!made || made.dataset.seen) return;
    made.dataset.seen = "yes";
    const text = document.querySelector("[data-generated-value]").textContent;
    const type = document.querySelector("#id_secret_type");
    if (made.dataset.secretType && type && !type.disabled && !area.value) type.value = made.dataset.secretType;
    if (area.value === "" || area.value === filled) {
      use(text);
      made.querySelector("[data-generated-words]").textContent = "Generated. Save to keep it.";
    } else {
      document.querySelector("[data-use-generated]").hidden = false;
    }
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-use-generated]");
    if (!button) return;
    use(document.querySelector("[data-generated-value]").textContent);
    button.hidden = true;
    area.focus();
  });
}
