// Pictures that are dropped onto the page, or pasted into it.

const hasFiles = (transfer) => [...(transfer?.types ?? [])].includes("Files");
const hasUrl = (transfer) => [...(transfer?.types ?? [])].includes("text/uri-list");
const isHttp = (text) => /^https?:\/\/\S+$/i.test(text);

/** Call `onFiles` or `onUrl` for what is dropped or pasted; `veil` is shown over the page. */
export function acceptDrops(veil, { onFiles, onUrl }) {
  const take = (transfer) => {
    if (transfer.files.length) return onFiles(transfer.files);
    const url = (transfer.getData("text/uri-list") || transfer.getData("text")).trim();
    if (isHttp(url)) onUrl(url);
  };
  const cover = (isCovered) => veil.classList.toggle("shown", isCovered);
  addEventListener("dragover", (event) => {
    if (!hasFiles(event.dataTransfer) && !hasUrl(event.dataTransfer)) return;
    event.preventDefault();
    cover(true);
  });
  addEventListener("dragleave", ({ relatedTarget }) => relatedTarget || cover(false));
  addEventListener("drop", (event) => {
    event.preventDefault();
    cover(false);
    take(event.dataTransfer);
  });
  addEventListener("paste", (event) => {
    if (!event.target.closest?.("input")) take(event.clipboardData);
  });
}
