// A picture of the gallery, and its card.

import { showTags } from "./tags.js";

const TAGS = 3; // on a card
const template = document.getElementById("card");

export class Picture {
  /**
   * @param name What it is called: the file's name, or the address.
   * @param source A `file`, or a `url`.
   */
  constructor(name, { file = null, url = null }) {
    Object.assign(this, { name, file, url, blob: null });
    this.id = crypto.randomUUID?.() ?? randomId();
    this.revision = 0; // of the labels that its tags answer
    this.tags = [];
    this.problem = "";
    this.isRemoved = false;
    this.element = template.content.firstElementChild.cloneNode(true);
    this.card = this.element.querySelector(".card");
    this.card.dataset.id = this.id;
    this.element.querySelector(".name-only").textContent = name;
    this.thumb = this.element.querySelector(".thumb");
    this.thumb.alt = name;
    this.thumb.addEventListener("error", () => this.element.classList.add("unseen"));
    if (url) this.thumb.src = url;
    showTags(this.element.querySelector(".tags"), Array(TAGS).fill(["", 0]), TAGS);
    this.element.classList.add("waiting");
  }

  get best() {
    return this.tags[0]?.[0];
  }

  /** Show the picture from an object URL. */
  show(src) {
    if (this.isRemoved) URL.revokeObjectURL(src);
    else this.thumb.src = src;
  }

  /** Show an answer of the server, or a problem of the page, which no other labels would solve. */
  answer({ revision, tags = [], sentence = "" }) {
    Object.assign(this, { revision: sentence ? Infinity : revision, tags, problem: sentence });
    this.element.classList.remove("waiting", "stale");
    this.element.classList.toggle("failed", Boolean(sentence));
    const shown = this.element.querySelector(".problem");
    shown.hidden = !sentence;
    shown.textContent = sentence;
    showTags(this.element.querySelector(".tags"), tags, TAGS);
  }

  /** Show that the labels have changed since. */
  outdate() {
    if (this.tags.length) this.element.classList.add("stale");
  }

  /** Show how near it is to what was searched, or nothing. */
  match(cosine) {
    const badge = this.element.querySelector(".match");
    badge.hidden = cosine === null;
    badge.textContent = cosine === null ? "" : cosine.toFixed(2);
  }

  /** Free what the browser keeps of it. */
  remove() {
    this.isRemoved = true;
    this.element.remove();
    if (this.blob) URL.revokeObjectURL(this.thumb.src);
  }
}

// `crypto.randomUUID` is there on https and localhost only.
function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
