// Installs twolane, and runs the lanes.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const { append, fail, input, output, run, save, stateDirectory } = require("./lib.js");

/** Returns the program: `TWOLANE` names one that is there, else install.sh fetches and verifies a release. */
async function install() {
  if (process.env.TWOLANE) return process.env.TWOLANE;
  const prefix = path.join(process.env.RUNNER_TEMP || "/tmp", "twolane");
  const env = { ...process.env, PREFIX: prefix, TWOLANE_VERSION: input("version") || "latest" };
  const code = await run("sh", [path.join(__dirname, "..", "install.sh")], { env });
  if (code !== 0) throw new Error(`could not install twolane: install.sh ended with ${code}`);
  append("GITHUB_PATH", path.join(prefix, "bin"));
  return path.join(prefix, "bin", "twolane");
}

/** Returns the newest run in the state directory. */
function newestRun(state) {
  const runs = path.join(state, "runs");
  return fs.existsSync(runs) ? fs.readdirSync(runs).sort().pop() : undefined;
}

async function main() {
  const program = await install();
  if (input("install-only") === "true") return;
  const state = stateDirectory();
  // Before anything is made: the post step must know where to look.
  save("program", program);
  save("state", state);
  const args = ["-C", input("directory") || ".", "run"];
  if (input("max-cost")) args.push("--max-cost", input("max-cost"));
  args.push(...input("arguments").split("\n").map((line) => line.trim()).filter(Boolean));
  args.push(...input("lanes").split(/\s+/).filter(Boolean));
  const code = await run(program, args, { env: { ...process.env, TWOLANE_STATE_DIR: state } });
  const newest = newestRun(state);
  if (newest) {
    output("run", newest);
    output("report-directory", path.join(state, "runs", newest));
  }
  process.exitCode = code;
  const why = { 1: "a check failed", 2: "wrong usage or configuration", 3: "the infrastructure failed", 4: "something could not be destroyed" };
  if (code !== 0) fail(`twolane run: ${why[code] || "interrupted"} (exit code ${code})`);
}

main().catch((error) => fail(error.message));
