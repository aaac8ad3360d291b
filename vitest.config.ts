// The test projects. `unit` is whatever is not one of the named others.
import { defineConfig } from "vitest/config";

const named = ["properties", "conformance", "scenarios", "cli"] as const;

// CI asks every run the same questions; a developer's machine asks new ones, and a failure prints the seed that repeats it.
const setupFiles = ["test/support/seed.ts"];

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          setupFiles,
          include: ["test/**/*.test.ts"],
          exclude: named.map((name) => `test/${name}/**`),
          testTimeout: 60_000,
        },
      },
      ...named.map((name) => ({
        test: {
          name,
          setupFiles,
          include: [`test/${name}/**/*.test.ts`],
          testTimeout: 120_000,
          // The cli tests start the program as it is installed.
          globalSetup: name === "cli" ? ["test/support/build.ts"] : [],
        },
      })),
    ],
  },
});
