// Before the page is painted: the theme that was chosen here, else the system's.
"use strict";

{
  const root = document.documentElement;
  const stored = () => {
    try {
      return localStorage.getItem("gallery-theme");
    } catch {
      return null; // storage is disabled
    }
  };
  const system = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    root.dataset.theme = stored() ?? (system.matches ? "dark" : "light");
    const button = document.getElementById("theme");
    button?.setAttribute("aria-label", root.dataset.theme === "dark" ? "Light theme" : "Dark theme");
  };
  show();
  system.addEventListener("change", show);
  document.addEventListener("DOMContentLoaded", () => {
    show();
    document.getElementById("theme").addEventListener("click", () => {
      try {
        localStorage.setItem("gallery-theme", root.dataset.theme === "dark" ? "light" : "dark");
      } catch {
        return;
      }
      show();
    });
  });
}
