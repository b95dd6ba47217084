"use strict";
{
  const metric = document.getElementById("metric");
  const setting = document.getElementById("setting");
  const show = () => {
    for (const part of document.querySelectorAll(".set")) {
      const other = "metric" in part.dataset && part.dataset.metric !== metric.value;
      part.hidden = other || part.dataset.setting !== setting.value;
    }
  };
  if (metric) {
    metric.addEventListener("change", show);
    setting.addEventListener("change", show);
    show();
  }

  const key = (row, column) => {
    const cell = row.cells[column];
    return "value" in cell.dataset ? (cell.dataset.value === "" ? Infinity : Number(cell.dataset.value)) : cell.textContent;
  };
  const compare = (a, b) => (typeof a === "number" ? (a === b ? 0 : a - b) : a.localeCompare(b));
  const sort = (table, header) => {
    const descending = header.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const column = header.cellIndex;
    const rows = [...table.tBodies[0].rows].sort((a, b) => compare(key(a, column), key(b, column)));
    table.tBodies[0].append(...(descending ? rows.reverse() : rows));
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    for (const header of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => sort(table, header));
    }
  }

  document.getElementById("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
}
