//! Certificates for boxes: those of a file, and those that this machine trusts beyond its distribution's.

use std::{collections::BTreeSet, env, fs};

use base64::Engine as _;
use camino::{Utf8Path, Utf8PathBuf};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use crate::{
    paths::read_some,
    problem::{Problem, Result},
};

/// Where the package ca-certificates has what every box of the distribution trusts already.
const DISTRIBUTION: &str = "/usr/share/ca-certificates";
/// What this machine trusts.
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// More are somebody's whole bundle, which no user-data holds.
const EXTRAS_MAX: usize = 16;

/// What certificates hold, in DER.
type Known = BTreeSet<Vec<u8>>;

/// Returns each certificate of a PEM file that the distribution does not have.
pub(crate) fn of_file(path: &Utf8Path) -> Result<Vec<String>> {
    let problem = || Problem::usage(format!("could not read the certificates in {path}"));
    let text = read_some(path).map_err(|error| problem().because(error))?;
    if read(&text).next().is_none() {
        return Err(problem()
            .because("it holds no certificate in PEM form")
            .help("name another file in `ca-certs` of [system]"));
    }
    Ok(beyond(read(&text), &distribution(Utf8Path::new(DISTRIBUTION))))
}

/// Returns the certificates that this machine trusts and its distribution does not have; none where that cannot be known.
pub(crate) fn operators() -> Vec<String> {
    let known = distribution(Utf8Path::new(DISTRIBUTION));
    let bundle = env::var("SSL_CERT_FILE").unwrap_or_else(|_| BUNDLE.to_owned());
    let text = fs::read_to_string(bundle).unwrap_or_default();
    let extras = beyond(read(&text), &known);
    if known.is_empty() || extras.len() > EXTRAS_MAX {
        return Vec::new();
    }
    extras
}

/// Returns the certificates of a PEM file, whatever else it holds.
fn read(text: &str) -> impl Iterator<Item = CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(text.as_bytes()).filter_map(Result::ok)
}

/// Returns those that are not known, each once, in PEM.
fn beyond(all: impl Iterator<Item = CertificateDer<'static>>, known: &Known) -> Vec<String> {
    let mut seen = known.clone();
    all.filter(|certificate| seen.insert(certificate.to_vec()))
        .map(|certificate| {
            let text = base64::engine::general_purpose::STANDARD.encode(&certificate);
            let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
            let body: Vec<_> = lines.collect();
            format!(
                "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
                body.join("\n")
            )
        })
        .collect()
}

/// Returns the certificates of the distribution.
fn distribution(dir: &Utf8Path) -> Known {
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
        .flat_map(|text| {
            read(&text)
                .map(|certificate| certificate.to_vec())
                .collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(body: &str) -> String {
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    }

    #[test]
    fn only_what_the_distribution_lacks_goes_along() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        fs::create_dir(dir.join("mozilla")).unwrap();
        fs::write(dir.join("mozilla/a.crt"), pem("AAAA\nBBBB")).unwrap();
        let known = distribution(dir);
        let bundle = format!(
            "# comment\n{}{}{}",
            pem("AAAABBBB"),
            pem("PROXYPROXQ=="),
            pem("PROXYPROXQ==")
        ) + "-----BEGIN CERTIFICATE-----\nhalf";
        assert_eq!(beyond(read(&bundle), &known), [pem("PROXYPROXQ==")]);
    }
    #[test]
    fn file_without_end_holds_no_certificates() {
        let problem = of_file(Utf8Path::new("/dev/zero")).unwrap_err();
        assert_eq!(problem.exit, crate::exit::Exit::Usage, "{problem:?}");
    }
}
