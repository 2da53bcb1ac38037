// The form in which a value is written: a field that fits its type, hidden while typed, counted in bytes,
// filled by a generator or from a file.

const field = document.querySelector("[data-value-field]");
const area = field?.querySelector("textarea");
const type = document.getElementById("id_secret_type");
const environment = document.getElementById("id_environment");
let filled = ""; // what the generator wrote, so that it may replace its own work unasked

const ON_ONE_LINE = ["PASSWORD", "API_KEY"];
const CHECKED = ["JSON", "YAML", "CERTIFICATE", "SSH_KEY"];
const HINTS = {
  JSON: '{"username": "…", "password": "…"}',
  YAML: "username: …",
  CERTIFICATE: "-----BEGIN CERTIFICATE-----",
  SSH_KEY: "-----BEGIN OPENSSH PRIVATE KEY-----",
};

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
  words.textContent = `${bytes.toLocaleString("en")} of ${most.toLocaleString("en")} bytes`;
  words.classList.toggle("state-bad", bytes > most);
}

function use(text) {
  area.value = filled = text;
  // As if it had been typed: it is lost in the same way.
  area.dispatchEvent(new Event("input", { bubbles: true }));
}

function note(sentence) {
  const shown = document.getElementById("checked");
  shown.textContent = sentence;
}

// A password takes one line; what has lines of its own takes a tall field.
function fit() {
  const kind = type?.value || "";
  const line = ON_ONE_LINE.includes(kind) && !area.value.includes("\n");
  area.classList.toggle("on-one-line", line);
  area.rows = line ? 1 : 5;
  area.placeholder = HINTS[kind] || "";
  field.querySelector("[data-generate-value]").hidden = !generatorFor(kind);
  field.querySelector("[data-format-value]").hidden = kind !== "JSON";
  field.querySelector("[data-check-value]").hidden = !CHECKED.includes(kind);
  note("");
}

// A text may be anything: what generates a text makes a key of one kind.
const generatorFor = (kind) => kind !== "TEXT" && document.querySelector(`[data-generates="${CSS.escape(kind)}"]`);

// Those of the type are shown, and the others once they are asked for.
function openGenerator() {
  const generator = generatorFor(type?.value || "");
  const others = document.querySelector("[data-other-generators]");
  if (generator) generator.open = true;
  if (!others || others.dataset.asked) return;
  others.hidden = !generator;
  for (const each of document.querySelectorAll("[data-generates]")) each.hidden = Boolean(generator) && each.dataset.generates !== type.value;
}

function format() {
  try {
    use(JSON.stringify(JSON.parse(area.value), null, 2));
    note("");
  } catch {
    // The server says where the fault is.
    field.querySelector("[data-check-value]").click();
  }
}

async function load(file) {
  const most = Number(field.dataset.maxBytes);
  if (file.size > most) return note(`The file is too large (max ${most / 1024} KB).`);
  try {
    use(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(await file.arrayBuffer()));
    fit();
    note(`Loaded ${file.name}. Save to keep it.`);
  } catch {
    note("The file is not text. Encode it first, for example with Base64.");
  }
}

// A new secret waits for approval in some environments only.
function guard() {
  const notices = [...document.querySelectorAll("[data-shown-for]")];
  if (!notices.length || !environment) return;
  for (const notice of notices) notice.hidden = notice.dataset.shownFor !== environment.value;
  const guarded = notices.some((notice) => !notice.hidden);
  document.querySelector("[data-save]").textContent = guarded ? "Request approval" : "Create secret";
}

if (area) {
  conceal(true);
  count();
  fit();
  openGenerator();
  guard();
  area.addEventListener("input", () => {
    count();
    if (area.value.includes("\n") && area.classList.contains("on-one-line")) fit();
  });
  type?.addEventListener("change", () => {
    fit();
    openGenerator();
  });
  document.querySelector("[data-other-generators]")?.addEventListener("click", ({ currentTarget }) => {
    currentTarget.dataset.asked = "yes";
    currentTarget.hidden = true;
    const hidden = [...document.querySelectorAll("[data-generates][hidden]")];
    for (const each of hidden) each.hidden = false;
    hidden[0]?.querySelector("summary").focus();
  });
  environment?.addEventListener("change", guard);
  // In a field of one line, Enter saves as it does in any other.
  area.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing || !area.classList.contains("on-one-line")) return;
    event.preventDefault();
    area.form.requestSubmit();
  });
  field.querySelector("[data-conceal]").addEventListener("click", () => conceal(!area.classList.contains("concealed")));
  field.querySelector("[data-format-value]").addEventListener("click", format);
  field.querySelector("[data-generate-value]").addEventListener("click", () => {
    openGenerator();
    generatorFor(type.value).querySelector("form").requestSubmit();
  });
  field.querySelector("[data-value-file]").addEventListener("change", (event) => {
    if (event.target.files[0]) load(event.target.files[0]);
    event.target.value = "";
  });
  area.addEventListener("dragover", (event) => {
    if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
  });
  area.addEventListener("drop", (event) => {
    const file = event.dataTransfer?.files[0];
    if (!file) return;
    event.preventDefault();
    load(file);
  });

  document.addEventListener("htmx:afterSettle", () => {
    const made = document.querySelector("[data-generated]");
    if (!made || made.dataset.seen) return;
    made.dataset.seen = "yes";
    const value = document.querySelector("[data-generated-value]");
    if (made.dataset.secretType && type && !type.disabled && !area.value) {
      type.value = made.dataset.secretType;
      fit();
    }
    if (area.value === "" || area.value === filled) {
      use(value.textContent);
      fit();
      // It is in the field: a second copy of it helps nobody.
      value.hidden = true;
    } else {
      document.querySelector("[data-use-generated]").hidden = false;
    }
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-use-generated]");
    if (!button) return;
    use(document.querySelector("[data-generated-value]").textContent);
    fit();
    button.hidden = true;
    area.focus();
  });
}
