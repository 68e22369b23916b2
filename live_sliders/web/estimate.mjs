/** How long Python's start takes in this browser: as long as it took last, else as on a middling laptop. */
const KEY = 'live-sliders-start-s';
const USUAL_S = 5;

/** @returns {number} Seconds. */
export function expectedSeconds() {
  try {
    return Number(localStorage.getItem(KEY)) || USUAL_S;
  } catch { // storage is switched off
    return USUAL_S;
  }
}

/** @param {number} seconds */
export function noteSeconds(seconds) {
  try {
    localStorage.setItem(KEY, seconds.toFixed(1));
  } catch { /* then the next page guesses as this one did */ }
}
