//! The mvm command. Exits with 0, 1 when a command fails, or 2 when it was not understood.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let command = match mvm_cli::parse(&arguments) {
        Ok(command) => command,
        Err(problem) => return fail(&problem, 2),
    };
    match mvm_cli::run(&command) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(problem) => fail(&problem, 1),
    }
}

fn fail(problem: &str, code: u8) -> ExitCode {
    eprintln!("mvm: {problem}");
    ExitCode::from(code)
}
