//! How a runner logs in at GitHub: as an App, or with a token. Both come from files or from the environment.

use std::{env, fs, os::unix::fs::PermissionsExt};

use camino::Utf8Path;
use scaleset::Credentials;

use crate::{
    args::GithubService,
    paths::read_some,
    problem::{Problem, Result},
};

/// Finds the credentials.
pub(super) fn find(args: &GithubService) -> Result<Credentials> {
    let credentials = match (&args.app, args.installation) {
        (Some(app), Some(installation)) => {
            let key = secret("TWOLANE_GITHUB_APP_KEY", args.app_key_file.as_deref())?
                .ok_or_else(|| missing("the private key of the App was not given"))?;
            Credentials::github_app(app.as_str(), installation, &key)
        }
        (Some(_), None) => return Err(missing("the installation of the App was not given")),
        (None, _) => {
            let token = secret("TWOLANE_GITHUB_TOKEN", args.token_file.as_deref())?
                .ok_or_else(|| missing("neither an App nor a token was given"))?;
            Credentials::personal_access_token(token.trim())
        }
    };
    credentials.map_err(|error| {
        Problem::usage("could not use the credentials for GitHub")
            .because(error)
            .help("the key is the .pem file that GitHub gave when it was made")
    })
}

fn missing(why: &str) -> Problem {
    Problem::usage("could not log in at GitHub").because(why).help(
        "set TWOLANE_GITHUB_APP, TWOLANE_GITHUB_INSTALLATION and TWOLANE_GITHUB_APP_KEY_FILE;\n\
         or TWOLANE_GITHUB_TOKEN_FILE",
    )
}

/// Returns a secret: from its file, or from its variable.
fn secret(variable: &str, file: Option<&Utf8Path>) -> Result<Option<String>> {
    let Some(path) = file.filter(|path| !path.as_str().is_empty()) else {
        return Ok(env::var(variable).ok().filter(|value| !value.trim().is_empty()));
    };
    let cannot = |why: String| Problem::usage(format!("could not read the secret {path}")).because(why);
    let mode = fs::metadata(path)
        .map_err(|error| cannot(error.to_string()))?
        .permissions()
        .mode();
    if mode & 0o007 != 0 {
        return Err(
            cannot(format!("others may use it: its mode is {:04o}", mode & 0o7777))
                .help(format!("chmod 600 {path}")),
        );
    }
    let text = read_some(path).map_err(|error| cannot(error.to_string()))?;
    match text.trim().is_empty() {
        true => Err(cannot("it is empty".to_owned())),
        false => Ok(Some(text)),
    }
}
