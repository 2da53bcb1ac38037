// Takes the code of a link from behind its #, which no server is sent, and out of the address bar and the history.

function take() {
  const field = document.querySelector("[data-from-link]");
  const code = location.hash.slice(1);
  if (field && code) field.value = code;
  if (field?.value) field.closest(".field").hidden = true;
  if (code) history.replaceState(null, "", location.pathname);
}

take();
addEventListener("hashchange", take);
