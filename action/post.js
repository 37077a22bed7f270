// Destroys what the job left, also when it was cancelled. A box that cannot be destroyed fails the job.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const { fail, run, saved } = require("./lib.js");

async function post() {
  const [program, state] = [saved("program"), saved("state")];
  // Without a journal nothing was made.
  if (!program || !fs.existsSync(path.join(state, "journal.db"))) return;
  const code = await run(program, ["down", "--all"], { env: { ...process.env, TWOLANE_STATE_DIR: state } });
  if (code !== 0) {
    process.exitCode = code;
    fail(`twolane down --all ended with ${code}: a box may still be running, see the log of this step`);
  }
}

post().catch((error) => fail(error.message));
