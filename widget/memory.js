/** What a browser keeps of a visitor, for the pages to come: the token, and the messages not yet acknowledged. */

/** @type {Chat.Kept} */
const NOTHING = { token: null, visitor: null, queue: [], blocked: false, quiet: false };

/** What could not be stored, for as long as the page lives. @type {Record<string, Chat.Kept>} */
const copies = {};

/** One entry of localStorage, shared by the site's tabs; memory where that is refused. */
export class Memory {
  /** @param {string} key */
  constructor(key) {
    this.key = key;
  }

  /** @returns {Chat.Kept} */
  read() {
    try {
      return copies[this.key] ?? { ...NOTHING, ...JSON.parse(localStorage[this.key] ?? "{}") };
    } catch {
      return NOTHING; // refused, or another's text under our key
    }
  }

  /** @param {Partial<Chat.Kept>} changes */
  write(changes) {
    copies[this.key] = { ...this.read(), ...changes };
    try {
      localStorage[this.key] = JSON.stringify(copies[this.key]);
      delete copies[this.key];
    } catch {} // refused
  }

  /** Lets go of what could not be stored. The rest is the loader's to forget. */
  forget() {
    delete copies[this.key];
  }
}
