// Lets a reader choose a table's rows by the values of its columns: a menu for each head that carries `data-filter`.
// A cell "A, B" has two values. Heads that carry `data-sort` can order the rows, by a cell's `data-value` where it has one.
// Without this script the table shows all its rows, in the order in which they were written.

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

const numberOf = (cell) => ("value" in cell.dataset ? Number(cell.dataset.value) : NaN);

function compare(a, b) {
  const [x, y] = [numberOf(a), numberOf(b)];
  if (!Number.isNaN(x) || !Number.isNaN(y)) return (Number.isNaN(y) ? -Infinity : y) - (Number.isNaN(x) ? -Infinity : x);
  return a.textContent.trim().localeCompare(b.textContent.trim());
}

// A menu that orders the rows, and heads that do the same when they are clicked; largest numbers first.
function sorter(table, rows) {
  const heads = [...table.tHead.rows[0].cells].filter((head) => "sort" in head.dataset);
  if (!heads.length) return [];
  const { label, select } = menu("sort by", heads.map((head) => head.textContent), order);
  select.options[0].text = "as listed";

  function order() {
    const head = heads.find(({ textContent }) => textContent === select.value);
    const at = head?.cellIndex;
    const sorted = head ? [...rows].sort((a, b) => compare(a.cells[at], b.cells[at])) : rows;
    table.tBodies[0].append(...sorted);
    for (const each of heads) each.ariaSort = each === head ? (each.textContent === "off by" ? "descending" : "ascending") : null;
  }

  for (const head of heads) {
    head.addEventListener("click", () => {
      select.value = select.value === head.textContent ? ALL : head.textContent;
      order();
    });
  }
  order(); // a browser may have kept a choice
  return [label];
}

// A link to a row opens what is folded in it.
function open() {
  const row = location.hash.startsWith("#claim-") && document.getElementById(location.hash.slice(1));
  const folded = row && row.querySelector("details");
  if (folded) folded.open = true;
  if (row) row.scrollIntoView();
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
  bar.append(...menus.map(({ label }) => label), ...sorter(table, rows), count);
  (table.closest(".pst-scrollable-table-container") ?? table).before(bar);
  show(); // a browser may have kept a choice
}

for (const table of document.querySelectorAll("table")) {
  if (table.tHead?.querySelector("th[data-filter]")) offer(table);
}
addEventListener("hashchange", open);
open();
