// Sends pictures to the server, a few at a time, and again while it has trouble.

import { RequestError } from "./server.js";
import { shrink } from "./shrink.js";

const AT_A_TIME = 4;
const PAUSE_MS = 1500;
const MOST_LOSSES = 3; // then a picture that Redis does not keep is not sent again

/**
 * @param connection What knows the gallery.
 * @param maxBytes The largest picture that the server takes.
 * @param onFailed Called with a picture and a sentence.
 * @param onTrouble Called with a sentence about the server, or "".
 */
export class Uploads {
  constructor(connection, maxBytes, { onFailed, onTrouble }) {
    Object.assign(this, { connection, maxBytes, onFailed, onTrouble });
    this.waiting = [];
    this.running = 0;
  }

  add(pictures) {
    this.waiting.push(...pictures);
    while (this.running < AT_A_TIME && this.waiting.length) this.run();
  }

  /** Send a picture again that the server no longer has. */
  resend(picture) {
    picture.losses = (picture.losses ?? 0) + 1;
    if (picture.losses <= MOST_LOSSES) this.add([picture]);
    return picture.losses <= MOST_LOSSES;
  }

  async run() {
    this.running += 1;
    try {
      for (let picture; (picture = this.waiting.shift()); ) {
        if (!picture.isRemoved) await this.send(picture);
      }
    } finally {
      this.running -= 1;
    }
  }

  async send(picture) {
    try {
      if (picture.file) await this.prepare(picture);
      await this.connection.gallery?.put(picture);
      this.onTrouble("");
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      if (error.status === 404) return; // the gallery is opened again, and the picture sent then
      if (!error.isTemporary) {
        this.onFailed(picture, error.message);
        return;
      }
      this.onTrouble(error.message);
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      this.waiting.unshift(picture);
    }
  }

  async prepare(picture) {
    picture.blob = await shrink(picture.file);
    picture.file = null; // a thousand files of a camera would fill the memory
    picture.show(URL.createObjectURL(picture.blob));
    if (picture.blob.size > this.maxBytes) {
      const limit = Math.floor(this.maxBytes / 1e6);
      throw new RequestError(413, `The file has more than ${limit} MB. Make it smaller.`);
    }
  }
}
