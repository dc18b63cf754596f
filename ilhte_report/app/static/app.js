// Beside what Shiny does: tables that scroll with the keyboard, figures to save, files too large refused before they are sent.
(function () {
  "use strict";

  function frame(table) {
    if (table.closest(".table-scroll")) return;
    const around = document.createElement("div");
    around.className = "table-scroll";
    table.replaceWith(around);
    around.append(table);
  }

  function mark() {
    document.querySelectorAll(".table-scroll").forEach(function (box) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    });
  }

  // Buttons, as those within a figure cannot be reached with the keyboard.
  function offer(figure, n) {
    if (figure.dataset.saved) return;
    figure.dataset.saved = "yes";
    const row = document.createElement("div");
    row.className = "save";
    for (const format of ["svg", "png"]) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "btn btn-outline-secondary btn-sm";
      button.textContent = "Save figure " + (n + 1) + " as " + format.toUpperCase();
      button.addEventListener("click", function () {
        const drawing = figure.querySelector(".plotly-graph-div");
        const size = { width: 800, height: drawing.offsetHeight, scale: format === "png" ? 3 : 1 };
        Plotly.downloadImage(drawing, { ...size, format: format, filename: "figure-" + (n + 1) });
      });
      row.append(button);
    }
    figure.after(row);
  }

  function arrange() {
    document.querySelectorAll("main table").forEach(frame);
    document.querySelectorAll('#shown [role="figure"]').forEach(offer);
    mark();
  }

  document.addEventListener("DOMContentLoaded", function () {
    const most = Number(document.querySelector("main").dataset.most);
    new MutationObserver(arrange).observe(document.querySelector("main"), { childList: true, subtree: true });
    window.addEventListener("resize", mark);
    document.addEventListener("toggle", mark, true);

    function refuse(event, files) {
      const large = Array.from(files || []).find((file) => file.size > most);
      if (!large) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      document.getElementById("file").value = "";
      const told = document.createElement("p");
      told.className = "alert alert-danger";
      told.textContent = large.name + " has more than " + Math.floor(most / 2 ** 20) + " MB: give its path instead.";
      document.getElementById("table_told").replaceChildren(told);
    }
    document.addEventListener("change", (e) => e.target.id === "file" && refuse(e, e.target.files), true);
    document.addEventListener("drop", (e) => refuse(e, e.dataTransfer && e.dataTransfer.files), true);
  });
})();
