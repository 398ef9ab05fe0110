/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The filters of a list. */
"use strict";
(() => {
  const find = document.getElementById("find"), outcome = document.getElementById("outcome");
  const rows = [...document.querySelectorAll("#list tbody tr")];
  const filter = () => {
    const text = find.value.toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const fits = row.textContent.toLowerCase().includes(text) && (!outcome.value || row.cells[1].textContent === outcome.value);
      row.hidden = !fits;
      shown += fits;
    }
    document.getElementById("said").textContent = `${shown} of ${rows.length} rows`;
  };
  document.querySelector(".find").hidden = false;
  document.querySelector(".find").addEventListener("input", filter);
  filter();
})();
