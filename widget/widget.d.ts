/** The widget's JavaScript API, for pages in TypeScript: `/// <reference path="widget.d.ts" />`. See docs/widget.md. */
declare namespace Threadbridge {
  interface Options {
    /** The site's key, where the script tag has no `data-site`. Only for `boot`. */
    site?: string;
    /** "#rrggbb" */
    accent?: string;
    title?: string;
    greeting?: string;
    position?: "left" | "right";
    theme?: "auto" | "light" | "dark";
    /** Pixels between the launcher and the side and bottom of the page, 0 to 500. Without them: 20. */
    side?: number;
    bottom?: number;
    /** The address of a picture for the panel's head. */
    logo?: string;
    /** Who answers; an empty conversation shows them. In a tag's `data-team` it is JSON. */
    team?: { name: string; picture?: string }[] | string;
    /** What visitors often ask, as buttons in an empty conversation. In a tag's `data-questions` it is JSON. */
    questions?: string[] | string;
    /** What has to be agreed to before the first message; until then nothing is stored, and there is no connection. */
    consent?: string;
    /** The privacy policy's address, for a link in the consent. */
    privacy?: string;
    /** How soon somebody usually answers: "measured", a text of one's own, or "" for nothing. */
    notice?: string;
    /** `false`: no voice messages. */
    voice?: boolean;
    /** Where the conversation stands in the page, itself or its selector, instead of in the corner. Only for `boot`. */
    target?: Element | string | null;
    /** `false` where the page has a button of its own. */
    launcher?: boolean;
    zIndex?: number;
    /** `false` where an answer to a visitor who looks elsewhere makes no sound. */
    sound?: boolean;
    /** A language such as "de" or "pt-BR". Without it: that of the page. */
    locale?: string;
    /** Texts of one's own: the keys of widget/lang/de.json. In a tag's `data-texts` it is JSON. */
    texts?: Record<string, string | Record<string, string>> | string;
  }
  interface Identity {
    /** The site's own id of the person, proved by `hash`. */
    id: string;
    /** HMAC-SHA256 of the id under the site's `identity_secret`, in hex, made by the site's server. */
    hash: string;
    name?: string;
    email?: string;
  }
  interface Events {
    /** The launcher is there. */
    ready: undefined;
    open: undefined;
    close: undefined;
    /** The gateway has the message: it is durable. */
    "message:sent": { id: string; seq: number };
    "message:received": { seq: number; text: string; name: string };
    /** How many messages nobody has seen. */
    unread: number;
    error: { code: string; detail: string };
  }
  interface Api {
    (verb: "boot", options?: Options): void;
    (verb: "update", options: Options): void;
    (verb: "open" | "close" | "toggle" | "show" | "hide" | "logout" | "destroy"): void;
    /** How many messages nobody has seen; `undefined` where the script is not there yet. */
    (verb: "unread"): number | undefined;
    (verb: "identify", identity: Identity): void;
    /** Tells staff what the visitor did, with the next message; `data` is flat. */
    (verb: "track", name: string, data?: Record<string, string | number | boolean | null>): void;
    (verb: "setLocale", locale: string): void;
    (verb: "setTheme", theme: "auto" | "light" | "dark"): void;
    /** Puts a text into the composer, for the visitor to send. */
    (verb: "prefill", text: string): void;
    /** Sends a message as the visitor's. */
    (verb: "send", text: string): void;
    <Name extends keyof Events>(verb: "on" | "off", event: Name, listener: (detail: Events[Name]) => void): void;
    /** What was called before the script came. */
    q?: unknown[][];
    /** The contract's version, once the script is there. */
    v?: number;
  }
}

interface Window {
  threadbridge?: Threadbridge.Api;
}
