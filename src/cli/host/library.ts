/**
 * ringback/node: what programs on Node use besides the library: bundled guests and scenarios out of the package, and files.
 */

export { nodeImages } from "./images.ts";
export { bundledScenarios, type LoadedScenario, loadScenario } from "./scenarios.ts";
