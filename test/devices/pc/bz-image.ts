// Part: the smallest image that is a bzImage: 2 setup sectors, 100 bytes of kernel, boot protocol 2.11 (Linux: Documentation/arch/x86/boot.rst).

/** @param patch makes it another image, or none */
export function bzImage(patch: (view: DataView) => void = () => undefined): Uint8Array {
  const image = new Uint8Array(512 * 3 + 100);
  const view = new DataView(image.buffer);
  image[0x1f1] = 2;
  image.fill(0x77, 512 * 3);
  view.setUint32(0x202, 0x5372_6448, true);
  view.setUint16(0x206, 0x20b, true);
  image[0x211] = 1;
  view.setUint32(0x22c, 0x7fff_ffff, true);
  patch(view);
  return image;
}
