//! Certificates for boxes: those of a file, and those that this machine trusts beyond its distribution's.

use std::{collections::BTreeSet, env, fs};

use camino::{Utf8Path, Utf8PathBuf};

use crate::{
    paths::read_some,
    problem::{Problem, Result},
};

const END: &str = "-----END CERTIFICATE-----";
/// Where the package ca-certificates has what every box of the distribution trusts already.
const DISTRIBUTION: &str = "/usr/share/ca-certificates";
/// What this machine trusts.
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// More are somebody's whole bundle, which no user-data holds.
const EXTRAS_MAX: usize = 16;

/// Returns each certificate of a PEM file that the distribution does not have.
pub(crate) fn of_file(path: &Utf8Path) -> Result<Vec<String>> {
    let problem = || Problem::usage(format!("could not read the certificates in {path}"));
    let text = read_some(path).map_err(|error| problem().because(error))?;
    let all = split(&text);
    if all.is_empty() {
        return Err(problem()
            .because("it holds no certificate in PEM form")
            .help("name another file in `ca-certs` of [system]"));
    }
    Ok(beyond(all, &distribution(Utf8Path::new(DISTRIBUTION))))
}

/// Returns the certificates that this machine trusts and its distribution does not have; none where that cannot be known.
pub(crate) fn operators() -> Vec<String> {
    let known = distribution(Utf8Path::new(DISTRIBUTION));
    let bundle = env::var("SSL_CERT_FILE").unwrap_or_else(|_| BUNDLE.to_owned());
    let text = fs::read_to_string(bundle).unwrap_or_default();
    let extras = beyond(split(&text), &known);
    if known.is_empty() || extras.len() > EXTRAS_MAX {
        return Vec::new();
    }
    extras
}

fn split(text: &str) -> Vec<String> {
    text.split_inclusive(END)
        .filter_map(|part| Some(part[part.find("-----BEGIN CERTIFICATE-----")?..].to_owned()))
        .filter(|certificate| certificate.ends_with(END))
        .map(|certificate| certificate + "\n")
        .collect()
}

fn beyond(all: Vec<String>, known: &BTreeSet<String>) -> Vec<String> {
    let mut seen = known.clone();
    all.into_iter()
        .filter(|certificate| seen.insert(body(certificate)))
        .collect()
}

/// Returns what a certificate holds, however its lines are broken.
fn body(certificate: &str) -> String {
    certificate
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .map(str::trim)
        .collect()
}

/// Returns what the certificates of the distribution hold.
fn distribution(dir: &Utf8Path) -> BTreeSet<String> {
    let files = |dir: &Utf8Path| -> Vec<Utf8PathBuf> {
        let entries = dir.read_dir_utf8().into_iter().flatten();
        entries
            .filter_map(|entry| Some(entry.ok()?.into_path()))
            .collect()
    };
    files(dir)
        .iter()
        .flat_map(|dir| files(dir))
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|text| split(&text))
        .map(|certificate| body(&certificate))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(body: &str) -> String {
        format!("-----BEGIN CERTIFICATE-----\n{body}\n{END}\n")
    }

    #[test]
    fn only_what_the_distribution_lacks_goes_along() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        fs::create_dir(dir.join("mozilla")).unwrap();
        fs::write(dir.join("mozilla/a.crt"), pem("AAAA\nBBBB")).unwrap();
        let known = distribution(dir);
        let bundle = format!("# comment\n{}{}{}", pem("AAAABBBB"), pem("PROXY"), pem("PROXY"));
        assert_eq!(beyond(split(&bundle), &known), [pem("PROXY")]);
    }
}
