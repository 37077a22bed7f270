//! What a box may answer to a command, and for how long it may take. Whoever has root there may answer anything.

use model::{error::RemoteError, world::Command};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How much of standard error is kept: its end.
const STDERR_KEPT: usize = 64 << 10;

/// How much a command may write to standard error before it counts as one that does not end.
const STDERR_MAX: usize = 16 << 20;

/// How much of a command an error repeats.
const COMMAND_SHOWN: usize = 200;

/// Why an answer is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It is longer than so many bytes.
    Long(usize),
    /// The command did not end in its time.
    Silent,
}

impl Broken {
    /// Returns the error for a command. A box that is silent may be one whose network is gone: it is called again.
    pub(crate) fn during(self, command: &Command) -> RemoteError {
        let words: String = command.argv.join(" ").chars().take(COMMAND_SHOWN).collect();
        match self {
            Self::Long(most) => RemoteError::Command {
                command: words,
                how: match most >> 20 {
                    0 => format!("it wrote more than {} KiB, and was ended", most >> 10),
                    most => format!("it wrote more than {most} MiB, and was ended"),
                },
                output: "what a box answers to a command is shorter".to_owned(),
            },
            Self::Silent => RemoteError::Lost(format!(
                "`{words}` did not end within {} s",
                command.time_max.as_secs()
            )),
        }
    }
}

/// Reads to the end; how the command ended says whether that was all.
pub(crate) async fn read(pipe: Option<impl AsyncRead + Unpin>, most: usize) -> Result<Vec<u8>, Broken> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let _ = pipe.take(most as u64 + 1).read_to_end(&mut bytes).await;
    }
    match bytes.len() > most {
        true => Err(Broken::Long(most)),
        false => Ok(bytes),
    }
}

/// Reads to the end, and keeps only the last of it.
pub(crate) async fn read_end(pipe: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, Broken> {
    let (mut bytes, mut length) = (Vec::new(), 0);
    let Some(mut pipe) = pipe else { return Ok(bytes) };
    let mut buffer = vec![0; 8192];
    while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
        length += read;
        if length > STDERR_MAX {
            return Err(Broken::Long(STDERR_MAX));
        }
        bytes.extend_from_slice(&buffer[..read]);
        if bytes.len() > 2 * STDERR_KEPT {
            bytes.drain(..bytes.len() - STDERR_KEPT);
        }
    }
    bytes.drain(..bytes.len().saturating_sub(STDERR_KEPT));
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answer_of_the_longest_length_is_whole_and_one_more_is_refused() {
        let bytes = [7; 10];
        assert_eq!(read(Some(&bytes[..]), 10).await, Ok(bytes.to_vec()));
        assert_eq!(read(Some(&bytes[..]), 9).await, Err(Broken::Long(9)));
    }

    #[tokio::test]
    async fn only_the_end_of_standard_error_is_kept() {
        let mut bytes = vec![b'a'; 3 * STDERR_KEPT];
        bytes.push(b'z');
        let kept = read_end(Some(&bytes[..])).await.unwrap();
        assert_eq!((kept.len(), kept.last()), (STDERR_KEPT, Some(&b'z')));
        let endless = tokio::io::repeat(b'x');
        assert_eq!(read_end(Some(endless)).await, Err(Broken::Long(STDERR_MAX)));
    }
}
