//! `mvm-hostd SOCKET`: the only daemon that opens /dev/kvm. Whoever may write to its socket may boot a microVM.

use std::path::PathBuf;
use std::process::ExitCode;

use mvmd_runtime::boot::answer;
use mvmd_runtime::serve::{listen_socket, serve};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(socket), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: mvm-hostd SOCKET");
        return ExitCode::from(2);
    };
    let socket = PathBuf::from(socket);
    let served = listen_socket(&socket).and_then(|listener| {
        println!("mvm-hostd listens at {}", socket.display());
        serve(listener.incoming(), answer)
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mvm-hostd: could not serve at {}: {error}", socket.display());
            ExitCode::FAILURE
        }
    }
}
