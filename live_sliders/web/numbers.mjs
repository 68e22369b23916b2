/** Numbers in the page's prose that a view sets: `<data class="live-NAME">TEXT</data>` in an output fills `<span data-live-number="NAME">`. */

/** @param {Element} area Where new outputs have just come. */
export function fillNumbers(area) {
  for (const data of area.querySelectorAll('data')) {
    for (const name of data.classList) {
      if (name.startsWith('live-')) fill(name.slice('live-'.length), data.textContent);
    }
  }
}

/** @param {string} name @param {string} text */
function fill(name, text) {
  const spans = document.querySelectorAll(`span[data-live-number="${CSS.escape(name)}"]`);
  for (const span of [...spans].filter((each) => each.textContent !== text)) {
    span.textContent = text;
    span.classList.remove('live-moved');
    void span.offsetWidth; // so that the highlight begins anew
    span.classList.add('live-moved');
  }
}
