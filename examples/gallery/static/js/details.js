// One picture in large, with all its tags.

import { showTags } from "./tags.js";

const TAGS = 5;
const part = (id) => document.getElementById(id);

/**
 * @param grid What knows the pictures around it.
 * @param onRemove Called with the picture to remove.
 * @param onSimilar Called with the picture to search by.
 */
export class Details {
  constructor(grid, { onRemove, onSimilar }) {
    this.grid = grid;
    this.dialog = part("details");
    this.picture = null;
    part("close").addEventListener("click", () => this.dialog.close());
    part("previous").addEventListener("click", () => this.step(-1));
    part("next").addEventListener("click", () => this.step(1));
    part("similar").addEventListener("click", () => {
      this.dialog.close();
      onSimilar(this.picture);
    });
    part("remove").addEventListener("click", () => {
      this.dialog.close();
      onRemove(this.picture);
    });
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close(); // beside it
    });
    this.dialog.addEventListener("keydown", ({ key }) => {
      if (key === "ArrowLeft") this.step(-1);
      if (key === "ArrowRight") this.step(1);
    });
    this.dialog.addEventListener("close", () => this.picture.card.focus());
  }

  open(picture) {
    this.picture = picture;
    this.update();
    this.dialog.showModal();
    part("close").focus();
  }

  step(by) {
    const index = this.grid.shown.indexOf(this.picture) + by;
    if (!this.grid.shown[index]) return;
    this.picture = this.grid.shown[index];
    this.update();
  }

  /** Show what is known of the picture now. */
  update() {
    const { name, problem, tags, thumb } = this.picture;
    part("details-name").textContent = name;
    part("details-picture").src = thumb.src;
    part("details-problem").hidden = !problem;
    part("details-problem").textContent = problem;
    showTags(part("details-tags"), tags, TAGS);
    const index = this.grid.shown.indexOf(this.picture);
    part("previous").disabled = index <= 0;
    part("next").disabled = index === this.grid.shown.length - 1;
  }
}
