// What both steps of the action need: inputs, outputs, processes. Node's own modules only, so that nothing is bundled.
"use strict";
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { spawn } = require("node:child_process");

/** Returns an input as the runner passes it. */
const input = (name) => (process.env[`INPUT_${name.toUpperCase()}`] || "").trim();

/** Appends to a file that the runner reads; does nothing outside of a runner. */
function append(variable, text) {
  const file = process.env[variable];
  if (file) fs.appendFileSync(file, text + os.EOL);
}

const output = (name, value) => append("GITHUB_OUTPUT", `${name}=${value}`);

/** Saves a value for the post step. */
const save = (name, value) => append("GITHUB_STATE", `${name}=${value}`);

/** Returns what the main step saved. */
const saved = (name) => process.env[`STATE_${name}`] || "";

/** The state directory of this job: `down --all` in the post step destroys what was made from it, and nothing else. */
const stateDirectory = () => path.join(process.env.RUNNER_TEMP || os.tmpdir(), "twolane-state");

/**
 * Runs a program to its end and returns its exit code. A cancelled job gets SIGINT, then SIGTERM: both are passed on, and
 * the program decides when it is done.
 */
function run(program, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: "inherit", ...options });
    const pass = (signal) => child.kill(signal);
    const signals = ["SIGINT", "SIGTERM"];
    signals.forEach((signal) => process.on(signal, pass));
    const end = (finish) => (value) => {
      signals.forEach((signal) => process.off(signal, pass));
      finish(value);
    };
    child.on("error", end(reject));
    child.on("exit", end((code) => resolve(code === null ? 130 : code)));
  });
}

/** Fails the step with an annotation. */
function fail(message) {
  console.log(`::error::${message.replace(/%/g, "%25").replace(/\r/g, "%0D").replace(/\n/g, "%0A")}`);
  process.exitCode = process.exitCode || 1;
}

module.exports = { append, fail, input, output, run, save, saved, stateDirectory };
