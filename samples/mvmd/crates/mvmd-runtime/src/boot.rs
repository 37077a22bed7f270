//! Boots a microVM for a request, and answers with what the guest wrote.

use mvm_runtime::MicroVm;
use mvm_runtime::guest::{self, ANSWER, PORT};

use crate::message::Message;

/// Longest text that a guest is given to write.
const TEXT_MAX: usize = 200;

/// What a guest is asked to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Task {
    text: String,
    number: u16,
}

impl Task {
    /// Reads a task from a request, or says why it is none.
    pub fn of(request: &Message) -> Result<Self, String> {
        if request.verb != "boot" {
            return Err(format!("there is no `{}` here", request.verb));
        }
        let text = request.field("text").to_owned();
        let is_plain = |c: char| c == ' ' || c.is_ascii_graphic();
        if text.is_empty() || text.len() > TEXT_MAX || !text.chars().all(is_plain) {
            return Err(format!("`text` has 1 to {TEXT_MAX} printable ASCII characters"));
        }
        let number = request.field("number");
        let number = number
            .parse()
            .map_err(|_| format!("`number` is from 0 to 65535, not `{number}`"))?;
        Ok(Task { text, number })
    }
}

/// Boots a microVM that carries the task out, and returns what it wrote to its port and to its memory.
pub fn boot(task: &Task) -> Result<Message, String> {
    let kvm = mvm_runtime::open().map_err(|error| format!("could not open /dev/kvm: {error}"))?;
    let size = "1x1m".parse().map_err(|_| "1x1m is not a size".to_owned())?;
    let mut vm = MicroVm::new(&kvm, size).map_err(|failed| failed.to_string())?;
    let ended = vm
        .run(&guest::greeter(&task.text), task.number)
        .map_err(|failed| failed.to_string())?;
    let said = ended.written.iter().filter(|(port, _)| *port == PORT);
    let said: Vec<u8> = said.map(|(_, byte)| *byte).collect();
    let memory = vm.memory(ANSWER, 2);
    Ok(Message::new("ok")
        .with("said", String::from_utf8_lossy(&said))
        .with("answer", u16::from_le_bytes([memory[0], memory[1]]))
        .with("exits", ended.exits))
}

/// Answers a request.
pub fn answer(request: &Message) -> Message {
    match Task::of(request).and_then(|task| boot(&task)) {
        Ok(answer) => answer,
        Err(why) => Message::refused(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str, number: &str) -> Message {
        Message::new("boot").with("text", text).with("number", number)
    }

    #[test]
    fn only_what_a_guest_can_do_is_a_task() {
        assert!(Task::of(&request("hello", "65535")).is_ok());
        for wrong in [
            request("", "1"),
            request("hello", "65536"),
            request("hello", ""),
            request("h\u{e9}llo", "1"),
            request(&"x".repeat(TEXT_MAX + 1), "1"),
            Message::new("halt"),
        ] {
            assert!(Task::of(&wrong).is_err(), "{wrong:?}");
        }
    }

    /// A silent skip where there is no /dev/kvm, as in the live tests of mvm.
    #[test]
    fn the_guest_writes_what_it_was_given() {
        if mvm_runtime::open().is_err() {
            return;
        }
        let answer = answer(&request("from a guest", "258"));
        assert_eq!(answer.verb, "ok", "{answer:?}");
        assert_eq!(answer.field("said"), "from a guest");
        assert_eq!(answer.field("answer"), (!258_u16).to_string());
    }
}
