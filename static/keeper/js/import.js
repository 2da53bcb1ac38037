// The page of an import: what is pasted, dropped or chosen is previewed at once, and again where it would go
// elsewhere; what was corrected is previewed before it is imported.

const form = document.getElementById("import-form");
const WHERE = "[name=environment], [name=format], [name=under], [name=existing]";

const preview = () => form.requestSubmit(form.querySelector("[data-previews]"));

function drop(event) {
  const [file] = event.dataTransfer?.files || [];
  if (!file) return;
  event.preventDefault();
  form.classList.remove("is-over");
  document.getElementById("id_file").files = event.dataTransfer.files;
  preview();
}

if (form) {
  form.addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    form.classList.add("is-over");
  });
  form.addEventListener("dragleave", (event) => {
    if (!form.contains(event.relatedTarget)) form.classList.remove("is-over");
  });
  form.addEventListener("drop", drop);
  const [text, file] = ["id_text", "id_file"].map((id) => document.getElementById(id));
  if (!text.value) text.focus({ preventScroll: true });
  text.addEventListener("paste", () => {
    // It takes the place of a file, which would go first; it is in its field once this event is over.
    file.value = "";
    setTimeout(preview);
  });
  form.addEventListener("change", (event) => {
    const shown = form.querySelector("[data-imports]");
    if (event.target === file ? file.files.length : shown && event.target.matches(WHERE)) preview();
    // Another type makes it another import than the one that was previewed.
    if (!event.target.matches(".import-type")) return;
    form.querySelector("[data-imports]")?.setAttribute("disabled", "");
    form.querySelector("[data-previews]")?.classList.add("btn-primary");
  });
}
