// Search over the words of all pages, in an index that was written when the site was made.
(function () {
  "use strict";
  const here = document.currentScript.src;
  const form = document.querySelector("form.search");
  const input = form.querySelector("input");
  const panel = form.querySelector(".found");
  const status = panel.querySelector("[role=status]");
  const list = panel.querySelector("ul");
  const MOST = 12;
  form.hidden = false;

  function load() {
    if (load.begun) return;
    load.begun = true;
    const script = document.createElement("script");
    script.src = new URL("search-index.js", here).href;
    script.onload = show;
    document.head.append(script);
  }

  const splitWords = (text) => text.toLowerCase().split(/\s+/).filter(Boolean);

  // Sections that hold every word; those that hold them in a heading come first.
  function find(words) {
    const found = [];
    for (const [page, title, sections] of window.siteSearchIndex) {
      for (const [id, heading, text] of sections) {
        const places = [title, heading, text].map((place) => place.toLowerCase());
        if (!words.every((word) => places.some((place) => place.includes(word)))) continue;
        // a word of the page's title is found once, not in every section
        if (!id && words.every((word) => places[0].includes(word))) found.push({ page, id, title, heading: "", text, rank: 3 });
        else if (words.some((word) => places[1].includes(word))) found.push({ page, id, title, heading, text, rank: 2 });
        else if (words.some((word) => places[2].includes(word))) found.push({ page, id, title, heading, text, rank: 1 });
      }
    }
    return found.sort((a, b) => b.rank - a.rank);
  }

  function excerpt(text, words) {
    const at = Math.max(0, Math.min(...words.map((word) => text.toLowerCase().indexOf(word)).filter((n) => n >= 0)) - 40);
    const from = Number.isFinite(at) ? at : 0;
    return (from ? "…" : "") + text.slice(from, from + 130) + (text.length > from + 130 ? "…" : "");
  }

  function show() {
    const words = splitWords(input.value);
    panel.hidden = !words.length || !window.siteSearchIndex;
    if (panel.hidden) return;
    const found = find(words);
    status.textContent = found.length ? `${found.length} found${found.length > MOST ? `, the first ${MOST}` : ""}.` : "Nothing found.";
    list.replaceChildren(
      ...found.slice(0, MOST).map(function ({ page, id, title, heading, text }) {
        const link = document.createElement("a");
        link.href = new URL("../" + page + (id ? "#" + id : ""), here).href;
        link.textContent = heading && heading !== title ? `${title}: ${heading}` : title;
        const around = document.createElement("span");
        around.textContent = excerpt(text, words);
        const entry = document.createElement("li");
        entry.append(link, around);
        return entry;
      })
    );
  }

  function move(event) {
    const stops = [input, ...list.querySelectorAll("a")];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") {
      panel.hidden = true;
      input.focus();
    } else if (step && !panel.hidden) {
      event.preventDefault();
      stops[stops.indexOf(document.activeElement) + step]?.focus();
    }
  }

  input.addEventListener("focus", load);
  input.addEventListener("input", show);
  form.addEventListener("keydown", move);
  form.addEventListener("submit", function (event) {
    event.preventDefault();
    list.querySelector("a")?.focus();
  });
  document.addEventListener("click", (event) => form.contains(event.target) || (panel.hidden = true));
})();
