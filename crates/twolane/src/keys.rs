//! Keys that are pressed while something else goes on, where a person sits at the terminal.

use std::{
    io::{self, BufReader, IsTerminal, Read},
    thread,
};

use parking_lot::Mutex;
use rustix::{
    process::getpgrp,
    termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr},
};

/// How the terminal was: whoever leaves gives it back so.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The terminal, which hands out each key at once until this is dropped. Signals, and how lines are written, stay as they were.
pub(crate) struct Keys(());

impl Keys {
    /// Begins to call `pressed` for each key; none where nobody could press one: standard input is no terminal, or another
    /// program's.
    pub(crate) fn read(pressed: impl Fn(u8) + Send + 'static) -> Option<Self> {
        let stdin = io::stdin();
        if !stdin.is_terminal() || tcgetpgrp(&stdin).ok()? != getpgrp() {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let mut at_once = before.clone();
        at_once.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        at_once.special_codes[SpecialCodeIndex::VMIN] = 1;
        at_once.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&stdin, OptionalActions::Now, &at_once).ok()?;
        *BEFORE.lock() = Some(before);
        // It waits for the next key when the process ends.
        let reader = thread::Builder::new().name("keys".to_owned());
        let started = reader.spawn(move || {
            BufReader::new(io::stdin())
                .bytes()
                .map_while(io::Result::ok)
                .for_each(pressed)
        });
        let keys = Self(());
        started.is_ok().then_some(keys)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back as it was, if it was changed.
pub(crate) fn give_back() {
    if let Some(before) = BEFORE.lock().take() {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}
