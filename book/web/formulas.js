// Formulas are no stops for Tab (mathjax3_config), but one that scrolls on a narrow screen must be reachable by keyboard.
"use strict";

addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  const mark = () => {
    for (const formula of document.querySelectorAll('mjx-container[display="true"]')) {
      formula.toggleAttribute("tabindex", formula.scrollWidth > formula.clientWidth);
      if (formula.hasAttribute("tabindex")) formula.tabIndex = 0;
    }
  };
  mark();
  addEventListener("resize", mark);
});
