// The ext2 builder against e2fsprogs, which says whether it is a clean file system and reads the files back.

import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { sha256Hex } from "../../../src/core/digest.ts";
import { InputError } from "../../../src/core/errors.ts";
import { buildExt2, type Ext2File } from "../../../src/devices/block/ext2.ts";

const text = (content: string) => new TextEncoder().encode(content);
/** Bytes that differ from block to block. */
const filled = (length: number) => Uint8Array.from({ length }, (_, index) => (index * 7 + (index >> 10)) & 0xff);

const CONFIG: Ext2File = { path: "/boot/grub/grub.cfg", bytes: text("echo hello\nhalt\n") };
const NOON = 1_600_000_000;
const NOTHING = new Uint8Array(0);

const TOOLS = { e2fsck: ["/usr/sbin", "/sbin"], debugfs: ["/usr/sbin", "/sbin"] };
const PATH = [process.env.PATH, ...new Set(Object.values(TOOLS).flat())].join(":");
const present = Object.keys(TOOLS).every((tool) => spawnSync(tool, ["-V"], { env: { PATH } }).status === 0);
const e2fsprogsTest = test.skipIf(!present);
if (!present) console.log("skipped: the ext2 builder against e2fsck and debugfs (install e2fsprogs)");

function withImage<T>(image: Uint8Array, use: (file: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), "ringback-ext2-"));
  try {
    const file = join(folder, "disk.img");
    writeFileSync(file, image);
    return use(file);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function check(image: Uint8Array): void {
  withImage(image, (file) => {
    const { status, stdout } = spawnSync("e2fsck", ["-fn", file], { env: { PATH }, encoding: "utf8" });
    expect(stdout).not.toContain("Fix?");
    expect(status, stdout).toBe(0);
  });
}

function readBack(image: Uint8Array, path: string): Uint8Array {
  return withImage(image, (file) =>
    Uint8Array.from(
      execFileSync("debugfs", ["-R", `cat ${path}`, file], {
        env: { PATH },
        stdio: ["ignore", "pipe", "ignore"],
        maxBuffer: 1 << 28,
      }),
    ),
  );
}

/** 12 blocks are direct, 256 more are reached through one block of pointers, 65,536 through two. */
const SIZES = [0, 1, 1023, 1024, 1025, 12 * 1024, 12 * 1024 + 1, 268 * 1024, 268 * 1024 + 1, 1_000_000];
/** Of 64 blocks: one free, six of tables, two directories, one of pointers. */
const FULL = 54 * 1024;
const CASES: readonly (readonly [string, { files: readonly Ext2File[]; blockCount: number }])[] = [
  ["an empty one of 64 KiB", { files: [], blockCount: 64 }],
  ["one without a free block", { files: [{ path: "/a", bytes: filled(FULL) }], blockCount: 64 }],
  ["one with a boot loader's configuration", { files: [CONFIG], blockCount: 1024 }],
  [
    "files of every depth of pointers",
    { files: SIZES.map((size) => ({ path: `/files/${size}`, bytes: filled(size) })), blockCount: 2500 },
  ],
  [
    "a directory of many blocks and a deep one",
    {
      files: [
        ...Array.from({ length: 200 }, (_, index) => ({
          path: `/many/${"n".repeat(index)}${index}`,
          bytes: text(`${index}`),
        })),
        { path: `/${"d/".repeat(40)}end`, bytes: text("deep") },
      ],
      blockCount: 2000,
    },
  ],
  ["exactly one whole group", { files: [CONFIG], blockCount: 8193 }],
  [
    "files over three groups",
    {
      files: [
        { path: "/large", bytes: filled(12_000_000) },
        { path: "/behind", bytes: text("in the second group") },
      ],
      blockCount: 20_000,
    },
  ],
  [
    "more inodes than one group holds",
    {
      files: Array.from({ length: 5000 }, (_, index) => ({ path: `/${index % 50}/${index}`, bytes: NOTHING })),
      blockCount: 17_000,
    },
  ],
];
e2fsprogsTest.each(CASES)("e2fsck finds %s clean, and debugfs reads every file back", (_, options) => {
  const image = buildExt2({ ...options, timestampSeconds: NOON });
  expect(image.length).toBe(options.blockCount * 1024);
  check(image);
  const some = options.files.filter(
    (_, index, all) => index % Math.ceil(all.length / 20) === 0 || index === all.length - 1,
  );
  for (const { path, bytes } of some) expect(sha256Hex(readBack(image, path)), path).toBe(sha256Hex(bytes));
});

e2fsprogsTest("file times and kinds are as given", () => {
  const image = buildExt2({ files: [CONFIG], blockCount: 256, timestampSeconds: NOON });
  const stat = withImage(image, (file) =>
    execFileSync("debugfs", ["-R", "stat /boot/grub/grub.cfg", file], { env: { PATH, TZ: "UTC" }, encoding: "utf8" }),
  );
  expect(stat).toMatch(/Type: regular\s+Mode:\s+0644/);
  expect(stat).toMatch(/mtime: 0x5f5e1000 -- Sun Sep 13 12:26:40 2020/);
});

test("every group keeps a copy of the superblock that says where it is", () => {
  const image = buildExt2({ files: [], blockCount: 20_000, timestampSeconds: NOON });
  const view = new DataView(image.buffer);
  const copies = [1, 8193, 16_385].map((block) => [block * 1024 + 56, block * 1024 + 90]);
  const fields = copies.map((offsets) => offsets.map((offset) => view.getUint16(offset, true)));
  expect(fields).toEqual([0, 1, 2].map((group) => [0xef53, group]));
});

test("the same files give the same bytes, and other files another UUID", () => {
  const build = (content: string) =>
    buildExt2({ files: [{ path: "/a", bytes: text(content) }], blockCount: 64, timestampSeconds: NOON });
  const uuid = (image: Uint8Array) => sha256Hex(image.subarray(1024 + 104, 1024 + 120));
  expect(sha256Hex(build("one"))).toBe(sha256Hex(build("one")));
  expect(uuid(build("one"))).not.toBe(uuid(build("two")));
});

test.each([
  ["a relative path", "boot/grub.cfg"],
  ["the root itself", "/"],
  ["an empty name", "/boot//grub.cfg"],
  ["a way back", "/boot/../grub.cfg"],
  ["a name of 256 bytes", `/${"ä".repeat(128)}`],
  ["a name with a NUL", "/a\0b"],
  ["a file that is there already", "/boot/grub/grub.cfg"],
  ["a directory that is there already", "/boot/grub"],
  ["a file used as a directory", "/boot/grub/grub.cfg/more"],
])("refuses %s", (_, path) => {
  const files = [CONFIG, { path, bytes: NOTHING }];
  expect(() => buildExt2({ files, blockCount: 64, timestampSeconds: NOON })).toThrow(InputError);
});

test.each([
  ["more bytes than blocks", { files: [{ path: "/a", bytes: filled(70_000) }], blockCount: 64 }],
  ["one byte more than fits", { files: [{ path: "/a", bytes: filled(FULL + 1) }], blockCount: 64 }],
  ["no room for a group's tables", { files: [], blockCount: 5 }],
  ["a last group of one block", { files: [], blockCount: 8194 }],
  ["a size beyond the limit", { files: [], blockCount: 2 ** 21 }],
])("refuses %s", (_, options) => {
  expect(() => buildExt2({ ...options, timestampSeconds: NOON })).toThrow(InputError);
});
