// The test projects. `unit` is whatever is not one of the named others.
import { defineConfig } from "vitest/config";

const named = ["properties", "conformance", "scenarios", "cli"] as const;

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: named.map((name) => `test/${name}/**`),
          testTimeout: 60_000,
        },
      },
      ...named.map((name) => ({
        test: {
          name,
          include: [`test/${name}/**/*.test.ts`],
          testTimeout: 120_000,
          // The cli tests start the program as it is installed.
          globalSetup: name === "cli" ? ["test/support/build.ts"] : [],
        },
      })),
    ],
  },
});
