// The page of an import: a file may be dropped on it, and what was corrected is previewed before it is imported.

const form = document.getElementById("import-form");

function drop(event) {
  const [file] = event.dataTransfer?.files || [];
  if (!file) return;
  event.preventDefault();
  form.classList.remove("is-over");
  document.getElementById("id_file").files = event.dataTransfer.files;
  form.requestSubmit(form.querySelector("[data-previews]"));
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
  // Another type makes it another import than the one that was previewed.
  form.addEventListener("change", (event) => {
    if (!event.target.matches(".import-type")) return;
    form.querySelector("[data-imports]")?.setAttribute("disabled", "");
    form.querySelector("[data-previews]")?.classList.add("btn-primary");
  });
}
