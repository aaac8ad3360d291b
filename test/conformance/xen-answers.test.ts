// What a guest that does everything wrong is told: the same, line by line, as Debian's Xen 4.17 and Linux's block back end told the same image.

import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { completeConfig } from "../../src/machine/config.ts";
import { Images } from "../../src/machine/images.ts";
import { Machine } from "../../src/machine/machine.ts";

const guestFile = (name: string) => readFileSync(new URL(`../../guests/${name}`, import.meta.url));

it("answers nonsense in hypercalls, xenstore and rings as Xen 4.17 does", () => {
  const images = new Images({ guest: { build: () => new Uint8Array(guestFile("images/first-light.elf")) } }, () => {
    throw new Error("the only image is built");
  });
  const machine = new Machine(
    completeConfig({
      domains: [
        {
          name: "guest",
          kernel: "guest",
          commandLine: "mode=ring-nonsense",
          memoryMiB: 16,
          disks: [{ device: "xvda", sectors: 2048 }],
        },
      ],
    }),
    images,
    "1",
    () => {},
  );
  while (machine.step());
  const answers = machine.console("guest").replaceAll("\r\n", "\n");
  const expected = guestFile("first-light/answers-of-xen-4.17.txt").toString();
  expect(answers.slice(answers.indexOf("hypercalls:"))).toBe(expected);
  expect(machine.ended("guest")).toBe("poweroff");
});
