// Properties draw their inputs from a fixed seed in CI, so that a change is judged by itself and not by its luck.

import fc from "fast-check";

const CI_SEED = 20_200_101;

if (process.env.CI !== undefined) fc.configureGlobal({ seed: CI_SEED });
