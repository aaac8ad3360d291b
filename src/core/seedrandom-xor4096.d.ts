// The one file of the package seedrandom that ringback uses: its main file draws from Math.random when it is loaded.

declare module "seedrandom/lib/xor4096.js" {
  /** Index, Weyl counter and the 128 words of the generator; the words are signed 32-bit integers. */
  interface Xor4096State {
    i: number;
    w: number;
    X: number[];
  }

  interface Xor4096 {
    /** The next 32 bits as a signed integer. */
    int32(): number;
    state(): Xor4096State;
  }

  function xor4096(seed: string, options: { state: true | Xor4096State }): Xor4096;
  export default xor4096;
}
