// One sentence about what is wrong now, from whoever has something to say.

export class Notice {
  constructor(element) {
    this.element = element;
    this.sentences = new Map();
  }

  /** Show a sentence, or with "" no longer. `source` is who says so. */
  set(source, sentence) {
    if (sentence) this.sentences.set(source, sentence);
    else this.sentences.delete(source);
    const [first = ""] = this.sentences.values();
    this.element.hidden = !first;
    if (this.element.textContent !== first) this.element.textContent = first;
  }
}
