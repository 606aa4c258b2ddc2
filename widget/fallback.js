/** The exchange over plain HTTP, for networks that block WebSockets, in the shape of a socket. Loaded where it is needed. */

/** Seconds for the first event, which proxies that hold a stream back never pass; and between any two bytes after it. */
const FIRST = 8;
const SILENCE = 25;
/** Seconds after which a socket is tried beside it, again and again. */
const PROBE_EVERY = 60;

export class Fallback {
  #origin;
  #dial;
  #found;
  /** @type {WebSocket | undefined} */
  #probe;
  #probing;
  #abort = new AbortController();
  /** One post at a time, so that messages keep their order. */
  #posts = Promise.resolve();
  #token = "";
  #watch = 0;
  readyState = WebSocket.OPEN;
  onopen = () => {};
  /** @param {{data: string}} _ */
  onmessage = (_) => {};
  /** @param {{code: number}} _ */
  onclose = (_) => {};

  /**
   * @param {string} origin the gateway's
   * @param {() => WebSocket | undefined} dial opens a socket, which says hello
   * @param {(socket: WebSocket, welcome: Chat.Frame) => void} found goes over to one that was welcomed
   */
  constructor(origin, dial, found) {
    this.#origin = origin;
    this.#dial = dial;
    this.#found = found;
    this.#probing = setInterval(() => this.#try(), PROBE_EVERY * 1000);
    queueMicrotask(() => this.onopen());
  }

  /** @param {string} frame */
  send(frame) {
    this.#posts = this.#posts.then(() => this.#post(frame)).catch(() => this.#end());
  }

  close() {
    clearTimeout(this.#watch);
    clearInterval(this.#probing);
    this.#probe?.close();
    this.#abort.abort();
  }

  /** Tries a socket. */
  #try() {
    this.#probe?.close();
    const socket = (this.#probe = this.#dial());
    if (!socket) return;
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      if (frame.type !== "welcome") return;
      this.#probe = undefined;
      this.#found(socket, frame);
    };
  }

  #end() {
    this.close();
    this.onclose({ code: 1006 });
  }

  /** @param {string} frame */
  async #post(frame) {
    const answer = await this.#fetch("/v1/frames", { method: "POST", body: frame });
    for (const caused of [await answer.json()].flat()) {
      if (caused.type === "welcome") this.#follow(caused).catch(() => this.#end());
      this.#give(JSON.stringify(caused));
    }
  }

  /** Reads the stream from where a welcome ends. @param {Chat.Welcome} welcome */
  async #follow({ token, log, seq }) {
    this.#token = token;
    this.#expect(FIRST);
    const answer = await this.#fetch(`/v1/stream?${new URLSearchParams({ log, after: String(seq) })}`);
    if (!answer.ok) this.#give(await answer.text());
    else if (answer.body) await this.#read(answer.body.pipeThrough(new TextDecoderStream()).getReader());
    this.#end();
  }

  /** @param {ReadableStreamDefaultReader<string>} reader */
  async #read(reader) {
    let rest = "";
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      this.#expect(SILENCE);
      const events = (rest + part.value).split("\n\n");
      rest = events.pop() ?? "";
      for (const event of events) {
        const at = event.indexOf("data: ");
        this.#give(at < 0 ? '{"type":"alive"}' : event.slice(at + 6)); // a comment says no more than that
      }
    }
  }

  #expect(seconds = 0) {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => this.#end(), seconds * 1000);
  }

  /** @param {string} path @param {RequestInit} [options] */
  #fetch(path, options) {
    const headers = this.#token ? { Authorization: `Bearer ${this.#token}` } : undefined;
    return fetch(this.#origin + path, { ...options, headers, credentials: "omit", signal: this.#abort.signal });
  }

  /** @param {string} data a frame */
  #give(data) {
    if (!this.#abort.signal.aborted) this.onmessage({ data });
  }
}
