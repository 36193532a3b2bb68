// This tab's gallery on the server: opened, listened to, and opened again when the server lost it.

import { Gallery, openGallery, RequestError } from "./server.js";

const PAUSE_MS = 1500;
const pause = () => new Promise((resolve) => setTimeout(resolve, PAUSE_MS));

/**
 * Keeps a gallery open.
 *
 * @param onNews Called with each event of the gallery.
 * @param onOpen Called with each new gallery, which holds nothing yet.
 * @param onTrouble Called with a sentence, or with "" when there is no trouble any more.
 */
export class Connection {
  constructor({ onNews, onOpen, onTrouble }) {
    Object.assign(this, { onNews, onOpen, onTrouble });
    this.gallery = null;
    this.events = null;
  }

  async open() {
    this.close();
    while (!this.gallery) {
      try {
        this.gallery = new Gallery(await openGallery());
      } catch (error) {
        if (!(error instanceof RequestError)) throw error;
        this.onTrouble(error.message);
        await pause();
      }
    }
    this.listen();
    await this.onOpen(this.gallery);
  }

  listen() {
    const events = new EventSource(`${this.gallery.path}/events`);
    this.events = events;
    events.addEventListener("news", ({ data }) => {
      this.onTrouble("");
      this.onNews(JSON.parse(data));
    });
    events.addEventListener("error", async () => {
      this.onTrouble(new RequestError(0, "The server can't be reached. Trying again.").message);
      if (events.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      await pause();
      if (this.events === events) this.open();
    });
  }

  close() {
    this.events?.close();
    this.gallery?.close();
    this.events = this.gallery = null;
  }
}
