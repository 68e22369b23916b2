/**
 * Moves that wait for Python. A newer value of a control replaces an older one that has not started.
 *
 * @typedef {import('./model.mjs').Model} Model
 * @typedef {import('./model.mjs').State} State
 * @typedef {{model: Model, state?: State}} Move  Without a state it is a click.
 */
export class MoveQueue {
  /** @type {Move[]} */ #waiting = [];

  get isEmpty() {
    return this.#waiting.length === 0;
  }

  /** @param {Move} move */
  push(move) {
    const older = move.state && this.#waiting.find((each) => each.state && each.model === move.model);
    if (older) this.#waiting.splice(this.#waiting.indexOf(older), 1);
    this.#waiting.push(older ? { ...move, state: { ...older.state, ...move.state } } : move);
  }

  /** Take all that waits, in order. @returns {Move[]} */
  takeAll() {
    return this.#waiting.splice(0);
  }

  /** Keep the clicks only: values are sent anew from the models after a start. */
  dropValues() {
    this.#waiting = this.#waiting.filter((move) => !move.state);
  }
}
