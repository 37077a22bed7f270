//! Work that waits for files or programs, off the threads that carry the connections.

use model::error::RemoteError;

/// Runs `work` on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RemoteError> + Send + 'static,
) -> Result<T, RemoteError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(RemoteError::Here(format!("a task of twolane broke off: {error}"))),
    }
}
