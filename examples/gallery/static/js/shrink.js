// Makes pictures smaller before they are sent: the model sees 224 to 384 pixels a side.

const SMALL_BYTES = 256 * 1024;
const SHORTEST = 512; // pixels of the shorter side
const QUALITY = 0.9;

/** A file to send: the picture made smaller, or the file as it is if the browser can't read it. */
export async function shrink(file) {
  if (file.size <= SMALL_BYTES) return file;
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    return file; // perhaps the worker can
  }
  try {
    return (await smaller(bitmap, file.type)) ?? file;
  } finally {
    bitmap.close();
  }
}

async function smaller(bitmap, type) {
  const scale = SHORTEST / Math.min(bitmap.width, bitmap.height);
  if (scale >= 1) return null;
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(bitmap.width * scale);
  canvas.height = Math.round(bitmap.height * scale);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  // Only JPEG has no transparency.
  const written = type === "image/jpeg" ? type : "image/png";
  return new Promise((resolve) => canvas.toBlob(resolve, written, QUALITY));
}
