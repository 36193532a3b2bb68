// The cards of all pictures. One of them is in the tab order; arrow keys move on from there.

const STEPS = { ArrowLeft: -1, ArrowRight: 1 };

/**
 * @param list The `<ul>`.
 * @param onOpen Called with the picture whose card is pressed.
 * @param onRemove Called with the picture whose card is focused when Delete is pressed.
 */
export class Grid {
  constructor(list, { onOpen, onRemove }) {
    this.list = list;
    this.pictures = new Map();
    this.shown = []; // in their order
    this.current = null; // the one in the tab order
    list.addEventListener("click", ({ target }) => {
      const picture = this.of(target);
      if (!picture) return;
      this.makeCurrent(picture);
      onOpen(picture);
    });
    list.addEventListener("focusin", ({ target }) => this.makeCurrent(this.of(target)));
    list.addEventListener("keydown", (event) => {
      const picture = this.of(event.target);
      if (!picture) return;
      if (event.key === "Delete" || event.key === "Backspace") onRemove(picture);
      else if (!this.move(picture, event.key)) return;
      event.preventDefault();
    });
  }

  of(element) {
    return this.pictures.get(element.closest?.(".card")?.dataset.id);
  }

  add(pictures) {
    const added = document.createDocumentFragment();
    for (const picture of pictures) {
      this.pictures.set(picture.id, picture);
      this.shown.push(picture);
      added.append(picture.element);
    }
    this.list.append(added);
    if (!this.current) this.makeCurrent(this.shown[0]);
  }

  /** Remove a picture; the focus goes to the one that takes its place. */
  remove(picture) {
    const hadFocus = picture.element.contains(document.activeElement);
    const index = this.shown.indexOf(picture);
    this.pictures.delete(picture.id);
    this.shown.splice(index, 1);
    picture.remove();
    if (this.current === picture) {
      this.current = null;
      this.makeCurrent(this.shown[Math.min(index, this.shown.length - 1)]);
    }
    if (hadFocus) (this.current?.card ?? this.list).focus();
  }

  /** Show these pictures only, in this order; without them all, as they came. */
  show(pictures = [...this.pictures.values()]) {
    this.shown = pictures;
    this.list.replaceChildren(...pictures.map(({ element }) => element));
    if (!pictures.includes(this.current)) this.makeCurrent(pictures[0]);
  }

  makeCurrent(picture) {
    if (!picture || picture === this.current) return;
    if (this.current) this.current.card.tabIndex = -1;
    this.current = picture;
    picture.card.tabIndex = 0;
  }

  move(picture, key) {
    const index = this.shown.indexOf(picture);
    const columns = getComputedStyle(this.list).gridTemplateColumns.split(" ").length;
    const target = {
      ArrowUp: index - columns,
      ArrowDown: index + columns,
      Home: 0,
      End: this.shown.length - 1,
    }[key] ?? (key in STEPS ? index + STEPS[key] : null);
    if (target === null) return false;
    this.shown[target]?.card.focus();
    return true;
  }
}
