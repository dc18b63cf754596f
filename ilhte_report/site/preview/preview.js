// The theme a reader chose, and the table of contents closed on a phone.
(function () {
  "use strict";
  const root = document.documentElement;
  const stored = function (value) {
    try {
      if (value) localStorage.setItem("theme", value);
      return localStorage.getItem("theme");
    } catch (error) {
      return null; // storage may be refused, for pages opened from a file for instance
    }
  };
  if (stored()) root.dataset.theme = stored();

  document.addEventListener("DOMContentLoaded", function () {
    document.getElementById("theme").addEventListener("click", function () {
      const dark = root.dataset.theme
        ? root.dataset.theme === "dark"
        : window.matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      stored(root.dataset.theme);
    });
    const contents = document.querySelector("#TOC details");
    if (contents && !window.matchMedia("(min-width: 70rem)").matches) contents.open = false;
  });
})();
