// Pages that act on many secrets: where a part is swapped in, the keyboard follows it there.

document.addEventListener("htmx:afterSettle", (event) => {
  const part = document.getElementById(event.detail.target?.id || event.target.id);
  if (part?.matches("[data-takes-focus]") && !part.contains(document.activeElement)) part.focus();
});
