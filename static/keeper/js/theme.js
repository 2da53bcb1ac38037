// Chooses the theme before anything is painted. The choice is kept under the name that Django's
// admin uses, so that both sides agree; it is the only thing Keeper keeps in a browser.
"use strict";
(() => {
  const root = document.documentElement;
  const KEY = "theme";
  const CHOICES = ["auto", "light", "dark"];

  const chosen = () => {
    try {
      const stored = localStorage.getItem(KEY);
      return CHOICES.includes(stored) ? stored : root.dataset.bsTheme || "auto";
    } catch {
      return "auto"; // storage may be forbidden; the system's theme still holds
    }
  };

  const show = (theme) => {
    root.dataset.theme = theme;
    if (theme === "auto") delete root.dataset.bsTheme;
    else root.dataset.bsTheme = theme;
    const words = { auto: "as the system", light: "light", dark: "dark" }[theme];
    for (const button of document.querySelectorAll("[data-theme-toggle]")) {
      button.setAttribute("aria-label", `Theme: ${words}`);
      button.title = `Theme: ${words}`;
      const shown = button.querySelector("[data-theme-words]");
      if (shown) shown.textContent = `Theme: ${words}`;
    }
  };

  const next = (theme) => {
    const other = matchMedia("(prefers-color-scheme: dark)").matches ? ["auto", "light", "dark"] : ["auto", "dark", "light"];
    return other[(other.indexOf(theme) + 1) % other.length];
  };

  root.classList.add("js");
  show(chosen());
  document.addEventListener("DOMContentLoaded", () => {
    show(chosen());
    for (const button of document.querySelectorAll("[data-theme-toggle]")) {
      button.addEventListener("click", () => {
        const theme = next(chosen());
        try {
          localStorage.setItem(KEY, theme);
        } catch {
          // not remembered, but shown
        }
        show(theme);
      });
    }
  });
})();
