//! The files of the process itself: no engine reads one into a message, or writes over it.

use std::path::{Path, PathBuf};

use super::layout::Profile;
use super::problem::{Problem, ProblemKind};
use super::resolved::{AuthConfig, EngineEntry, HttpConfig, ServerConfig};
use crate::config::{RunConfig, ScenarioSource, ThirdPartyConfig};
use crate::files::{NOT_WRITTEN, OwnFile, OwnKind};
use crate::server::auth;
use crate::server::engines::files;

/// All files of the process for this configuration.
pub(super) fn own_files(config: &ServerConfig) -> Vec<OwnFile> {
    let ServerConfig { auth, engines, .. } = config;
    let (file, http) = (config.file.as_deref(), config.http.as_ref());
    own_files_of(file, http, auth, engines.iter().map(|engine| &engine.run))
}

/// All files of a process whose engines have these runs. `file` is its configuration.
pub(in crate::server) fn own_files_of<'e>(
    file: Option<&Path>,
    http: Option<&HttpConfig>,
    users: &AuthConfig,
    runs: impl Iterator<Item = &'e RunConfig>,
) -> Vec<OwnFile> {
    let mut own = Vec::new();
    let mut add = |role, path: &Path, kind| {
        own.push(OwnFile { role, path: path.to_owned(), kind });
    };
    if let Some(file) = file {
        add("the configuration of this process", file, OwnKind::Secret);
    }
    if let AuthConfig::Internal { sqlite_path, .. } = users {
        for path in auth::files_beside(sqlite_path) {
            add("a file with the users of this process", &path, OwnKind::Secret);
        }
    }
    if let Some(tls) = http.and_then(|http| http.tls.as_ref()) {
        add("the certificate of the API", &tls.cert, OwnKind::Secret);
        add("the private key of the API", &tls.key, OwnKind::Secret);
    }
    for run in runs {
        let tls = &run.tls;
        for path in [&tls.cert, &tls.key, &tls.ca, &tls.crl].into_iter().flatten() {
            add("a certificate or key of an engine", path, OwnKind::Material);
        }
        for (path, _) in read_by(run) {
            add("what an engine reads", path, OwnKind::Input);
        }
        for path in files(run) {
            add("what an engine writes", path, OwnKind::Output);
        }
    }
    own
}

/// Files that an engine reads, beside those of TLS, with the key that names each.
fn read_by(run: &RunConfig) -> Vec<(&PathBuf, &'static str)> {
    let mut read = Vec::new();
    if let ScenarioSource::File(path) = &run.scenario {
        read.push((path, "scenario_file"));
    }
    for source in [&run.receiving, &run.out_of_call].into_iter().flatten() {
        if let ScenarioSource::File(path) = source {
            read.push((path, "extra_args"));
        }
    }
    read.extend(run.injection.iter().map(|path| (path, "injection_file")));
    read.extend(run.injection_receiving.iter().map(|path| (path, "extra_args")));
    if let Some(ThirdPartyConfig::Named { file, .. }) = &run.third_party {
        read.push((file, "extra_args"));
    }
    read
}

/// Reports files of the process that an engine would use. Returns whether there are none.
pub(super) fn check(engine: &EngineEntry, profile: &Profile, problems: &mut Vec<Problem>) -> bool {
    let run = &engine.run;
    let before = problems.len();
    let mut report = |key: &'static str, path: &Path, verb: &str, role: &str| {
        let (place, key) = profile.place_of(&[key, "extra_args"]);
        let message =
            format!("{} is {role}: no engine may {verb} it; choose another file", path.display());
        problems.push(Problem { place: Some(place), key, kind: ProblemKind::File, message });
    };
    for (path, key) in read_by(run) {
        // An output that is also an input is reported as an output.
        if let Some(role) = run.access.own_at(path, &[OwnKind::Secret, OwnKind::Material]) {
            report(key, path, "read", role);
        }
    }
    for path in files(run) {
        if let Some(role) = run.access.own_at(path, &NOT_WRITTEN) {
            report(key_of_output(run, path), path, "overwrite", role);
        }
    }
    problems.len() == before
}

/// The key that names a file that `run` writes.
pub(super) fn key_of_output(run: &RunConfig, path: &Path) -> &'static str {
    let keys = [
        ("summary_json", &run.summary_json),
        ("summary_html", &run.summary_html),
        ("call_records_jsonl", &run.export.call_records),
        ("log_file_jsonl", &run.export.events.file),
    ];
    let key = keys.iter().find(|(_, own)| own.as_deref() == Some(path));
    key.map_or("extra_args", |(key, _)| *key)
}
