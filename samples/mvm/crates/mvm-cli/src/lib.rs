//! The command line: arguments to a command, a command to what is printed.

use mvm_core::{Size, VmName};
use mvm_runtime::MicroVm;
use mvm_runtime::guest::{self, PORT};

/// What `mvm` was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Prints the version.
    Version,
    /// Checks a name and a size.
    Check(VmName, Size),
    /// Boots a guest that says hello.
    Hello,
}

/// How `mvm` is used.
pub const USAGE: &str = "usage: mvm version | mvm check NAME SIZE | mvm hello";

/// Reads the arguments, without the program's own name.
pub fn parse(arguments: &[String]) -> Result<Command, String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["version"] => Ok(Command::Version),
        ["hello"] => Ok(Command::Hello),
        ["check", name, size] => Ok(Command::Check(
            name.parse().map_err(|invalid| format!("{invalid}"))?,
            size.parse().map_err(|invalid| format!("{invalid}"))?,
        )),
        _ => Err(USAGE.to_owned()),
    }
}

/// Carries out a command and returns what to print.
pub fn run(command: &Command) -> Result<String, String> {
    match command {
        Command::Version => Ok(format!("mvm {}", env!("CARGO_PKG_VERSION"))),
        Command::Check(name, size) => Ok(format!("{} {size}", name.as_str())),
        Command::Hello => hello(),
    }
}

fn hello() -> Result<String, String> {
    let kvm = mvm_runtime::open().map_err(|error| format!("could not open /dev/kvm: {error}"))?;
    let size = Size {
        vcpus: 1,
        memory_mib: 1,
    };
    let program = guest::greeter("hello");
    let ended = MicroVm::new(&kvm, size)
        .and_then(|mut vm| vm.run(&program, 0))
        .map_err(|failed| failed.to_string())?;
    let said = ended.written.iter().filter(|(port, _)| *port == PORT);
    Ok(said.map(|(_, byte)| char::from(*byte)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&arguments)
    }

    #[test]
    fn commands_are_read() {
        assert_eq!(parsed("version"), Ok(Command::Version));
        assert_eq!(parsed("hello"), Ok(Command::Hello));
        let checked = parsed("check web 2x1g").unwrap();
        assert_eq!(run(&checked), Ok("web 2x1024m".to_owned()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(parsed("chekc web 2x1g"), Err(USAGE.to_owned()));
        let wrong = parsed("check web 2g").unwrap_err();
        assert!(wrong.contains("2g"), "{wrong}");
    }
}
