"use strict";
// Tables: a click on a heading sorts by it, a second one the other way; what has no value is last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const value = (row, i) => row.cells[i].dataset.value ?? row.cells[i].textContent.trim();
  heads.forEach((head, i) => head.querySelector("button").addEventListener("click", () => {
    const numeric = body.rows[0].cells[i].dataset.value !== undefined;
    const before = head.getAttribute("aria-sort");
    const up = before ? before === "descending" : !numeric;
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const compare = (a, b) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      return (numeric ? a - b : a.localeCompare(b)) * (up ? 1 : -1);
    };
    body.append(...[...body.rows].sort((a, b) => compare(value(a, i), value(b, i))));
  }));
}

// The matrix: one cell is in the order of the Tab key, the arrow keys go to its neighbours.
const matrices = JSON.parse(document.getElementById("matrix-data").textContent);
for (const place of document.querySelectorAll(".matrix")) {
  const { classes, counts, totals, names } = matrices[place.dataset.unit], unit = place.dataset.unit;
  const buttons = new Map([...place.querySelectorAll("button[data-at]")].map((b) => [b.dataset.at, b]));
  const detail = place.querySelector(".detail");
  const show = (button) => {
    const [i, j] = button.dataset.at.split(",").map(Number), n = counts[i][j];
    for (const other of buttons.values()) { other.tabIndex = -1; other.classList.remove("at"); }
    button.tabIndex = 0;
    button.classList.add("at");
    const said = i === j ? `${classes[i]} recognised` : `${classes[i]} taken for ${classes[j]}`;
    const known = names[`${i},${j}`] ?? [];
    const list = known.map(([path, times]) => (times > 1 ? `${path} (${times} ×)` : path)).join(", ");
    const rest = n - known.reduce((sum, [, times]) => sum + times, 0);
    detail.textContent = `${said}: ${n} of ${totals[i]} ${unit} (${(100 * n / totals[i]).toFixed(1)} %)`
      + (list ? `: ${list}${rest > 0 ? ` and ${rest} more` : ""}.` : ".");
  };
  for (const [at, button] of buttons) {
    button.tabIndex = -1;
    for (const event of ["mouseenter", "focus", "click"]) button.addEventListener(event, () => show(button));
    button.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!step) return;
      event.preventDefault();
      let [i, j] = at.split(",").map(Number);
      while ((i += step[0]) >= 0 && (j += step[1]) >= 0 && i < classes.length && j < classes.length) {
        const next = buttons.get(`${i},${j}`);
        if (next) return next.focus();
      }
    });
  }
  const [first] = buttons.values();
  if (first) first.tabIndex = 0;
}

// Mistakes: one sound at a time.
const stop = (button) => { button.nextElementSibling.pause(); button.classList.remove("on"); };
for (const button of document.querySelectorAll(".play")) {
  const audio = button.nextElementSibling;
  audio.addEventListener("ended", () => button.classList.remove("on"));
  button.addEventListener("click", () => {
    const playing = button.classList.contains("on");
    document.querySelectorAll(".play.on").forEach(stop);
    if (playing) return;
    audio.currentTime = 0;
    button.classList.add("on");
    audio.play().catch(() => button.classList.remove("on"));
  });
}

// Paper cannot unfold.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
