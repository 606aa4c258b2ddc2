/** Where an agent writes: one draft for each conversation; a text leaves the box only when the server has taken it. */

import { byId, make } from "./dom.js";

/** @typedef {import("./connection.js").Attachment} Attachment */
/** @typedef {{ text: string, files: Attachment[], id: string, sent: string }} Draft `sent` is what `id` was last sent with */
/**
 * @typedef {object} Outward
 * @property {(conversation: string, id: string, text: string, files: Attachment[]) => Promise<void>} send
 * @property {(file: File) => Promise<Attachment>} upload
 * @property {(conversation: string, on: boolean) => void} typing
 */

const TYPING_AGAIN = 3000;
const TYPING_ENDS = 5000;
const HINT = "Enter sends, Shift+Enter starts a line. A message that starts with // stays inside.";
const NOTE_HINT = "This is a note: it does not go to the visitor.";

/** Makes an id also where the page is not in a secure context. */
function freshId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} text */
function isNote(text) {
  return text.trimStart().startsWith("//");
}

export class Composer {
  #form = byId("composer", HTMLFormElement);
  #reply = byId("reply", HTMLTextAreaElement);
  #button = byId("send", HTMLButtonElement);
  #trouble = byId("trouble", HTMLElement);
  #pick = byId("pick", HTMLInputElement);
  /** @type {Map<string, Draft>} */
  #drafts = new Map();
  #conversation = "";
  #saidTyping = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #pause;

  /** @param {Outward} outward */
  constructor(outward) {
    this.outward = outward;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#send();
    });
    this.#reply.addEventListener("keydown", (event) => {
      // While an input method composes, Enter belongs to it; 229 is how Safari says so.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.#form.requestSubmit();
    });
    this.#reply.addEventListener("input", () => this.#changed());
    this.#reply.addEventListener("paste", (event) => this.#take(event, event.clipboardData));
    this.#form.addEventListener("dragover", (event) => event.preventDefault());
    this.#form.addEventListener("drop", (event) => this.#take(event, event.dataTransfer));
    byId("attach", HTMLButtonElement).addEventListener("click", () => this.#pick.click());
    this.#pick.addEventListener("change", () => {
      void this.#attach([...(this.#pick.files ?? [])]);
      this.#pick.value = "";
    });
  }

  get #draft() {
    const held = this.#drafts.get(this.#conversation) ?? { text: "", files: [], id: freshId(), sent: "" };
    this.#drafts.set(this.#conversation, held);
    return held;
  }

  /**
   * @param {string} conversation
   * @param {boolean} open
   */
  show(conversation, open) {
    this.#reply.placeholder = open ? "Write a reply" : "Closed. A reply still arrives.";
    if (conversation === this.#conversation) return;
    this.#stopTyping();
    this.#conversation = conversation;
    this.#reply.value = this.#draft.text;
    this.#trouble.textContent = "";
    this.#paint();
  }

  focus() {
    this.#reply.focus();
  }

  #changed() {
    this.#draft.text = this.#reply.value;
    this.#paint();
    if (!this.#reply.value.trim() || isNote(this.#reply.value)) return this.#stopTyping();
    clearTimeout(this.#pause);
    this.#pause = setTimeout(() => this.#stopTyping(), TYPING_ENDS);
    if (Date.now() - this.#saidTyping < TYPING_AGAIN) return;
    this.#saidTyping = Date.now();
    this.outward.typing(this.#conversation, true);
  }

  #stopTyping() {
    clearTimeout(this.#pause);
    if (this.#saidTyping) this.outward.typing(this.#conversation, false);
    this.#saidTyping = 0;
  }

  async #send() {
    const draft = this.#draft;
    const conversation = this.#conversation;
    const text = draft.text.trim();
    if ((!text && !draft.files.length) || this.#reply.readOnly) return;
    const whole = JSON.stringify([text, draft.files]);
    // The same again keeps its id, so that a lost answer makes no second message; another text is another message.
    if (draft.sent && draft.sent !== whole) draft.id = freshId();
    draft.sent = whole;
    this.#busy(true);
    try {
      await this.outward.send(conversation, draft.id, text, draft.files);
      this.#saidTyping = 0;
      clearTimeout(this.#pause);
      this.#drafts.delete(conversation);
      if (conversation === this.#conversation) this.#reply.value = "";
      this.#trouble.textContent = "";
    } catch (error) {
      this.#tell(error);
    } finally {
      this.#busy(false);
      this.#paint();
    }
  }

  /**
   * @param {Event} event
   * @param {DataTransfer | null} data
   */
  #take(event, data) {
    if (!data?.files.length) return;
    event.preventDefault();
    void this.#attach([...data.files]);
  }

  /** @param {File[]} files */
  async #attach(files) {
    const draft = this.#draft;
    for (const file of files) {
      try {
        draft.files.push(await this.outward.upload(file));
        this.#trouble.textContent = "";
      } catch (error) {
        this.#tell(error);
      }
    }
    this.#paint();
    this.focus();
  }

  /** @param {unknown} error */
  #tell(error) {
    this.#trouble.textContent = error instanceof Error ? error.message : String(error);
  }

  /** @param {boolean} on */
  #busy(on) {
    // Read-only rather than disabled: the focus and, on a phone, the keyboard stay.
    this.#reply.readOnly = on;
    this.#button.setAttribute("aria-disabled", String(on));
    this.#form.classList.toggle("busy", on);
  }

  #paint() {
    const note = isNote(this.#reply.value);
    this.#form.classList.toggle("note", note);
    byId("hint", HTMLElement).textContent = note ? NOTE_HINT : HINT;
    this.#reply.style.height = "auto";
    this.#reply.style.height = `${this.#reply.scrollHeight}px`;
    byId("files", HTMLElement).replaceChildren(...this.#draft.files.map((file) => this.#chip(file)));
  }

  /** @param {Attachment} file */
  #chip(file) {
    const remove = make("button", "icon", "×");
    remove.type = "button";
    remove.setAttribute("aria-label", `Remove ${file.name}`);
    remove.addEventListener("click", () => {
      this.#draft.files = this.#draft.files.filter((other) => other !== file);
      this.#paint();
      this.focus();
    });
    return make("li", "chip", make("span", "", file.name), remove);
  }
}
