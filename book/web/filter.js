// Lets a reader choose a table's rows by the values of its columns: a menu for each head that carries `data-filter`.
// A cell "A, B" has two values. Without this script the table shows all its rows.

const ALL = "";

const valuesOf = (row, column) => row.cells[column].textContent.split(", ").map((value) => value.trim());

function menu(name, values, changed) {
  const label = document.createElement("label");
  const select = document.createElement("select");
  select.add(new Option("all", ALL));
  for (const value of values) select.add(new Option(value, value));
  select.addEventListener("change", changed);
  label.append(`${name} `, select);
  return { label, select };
}

function offer(table) {
  const rows = [...table.tBodies[0].rows];
  const heads = [...table.tHead.rows[0].cells].filter((head) => "filter" in head.dataset);
  const columns = heads.map((head) => head.cellIndex);
  const count = document.createElement("output");

  function show() {
    const wanted = menus.map(({ select }) => select.value);
    for (const row of rows) {
      row.hidden = wanted.some((value, i) => value !== ALL && !valuesOf(row, columns[i]).includes(value));
    }
    count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  }

  const menus = heads.map((head, i) => {
    const values = new Set(rows.flatMap((row) => valuesOf(row, columns[i])));
    return menu(head.textContent, [...values].sort(), show);
  });
  const bar = document.createElement("div");
  bar.className = "table-filter";
  bar.append(...menus.map(({ label }) => label), count);
  (table.closest(".pst-scrollable-table-container") ?? table).before(bar);
  show(); // a browser may have kept a choice
}

for (const table of document.querySelectorAll("table")) {
  if (table.tHead?.querySelector("th[data-filter]")) offer(table);
}
