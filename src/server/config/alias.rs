//! Run profiles: `{"aliases": {NAME: {...}}}`, for `gossipper -config FILE -run-alias NAME`.

use std::path::Path;

use super::check::{is_comment, join};
use super::files;
use super::layout::{Key, Position, Profile, infer_role};
use super::load::{Loader, directory_of};
use super::problem::{Place, Problem, ProblemKind, Problems};
use super::resolved::{Role, ServerConfig};
use super::schema::schema;
use super::tree::{self, Data, Member, Node, TEXT_BYTES_MAX};
use crate::cli::ProfileLine;
use crate::config::RunConfig;

/// A run profile, resolved.
#[derive(Clone, Debug, PartialEq)]
pub enum AliasRun {
    /// A run as from the command line.
    Run(Box<RunConfig>),
    /// A server with one engine: the profile has `server`, an address of the API, listeners, or
    /// the role.
    Server(Box<ServerConfig>),
}

/// The names of the profiles in a file, sorted.
///
/// # Errors
/// The file cannot be read, or has no profiles. Mistakes inside of profiles do not matter here.
pub fn aliases(path: &Path) -> Result<Vec<String>, Problems> {
    let whole = read(path)?;
    let member = aliases_of(&whole, path)?;
    let members = member.node.members().iter().filter(|member| !is_comment(&member.key));
    let mut names: Vec<_> = members.map(|member| member.key.clone()).collect();
    names.sort();
    Ok(names)
}

/// Reads the profile that a command line names, under the options of the line.
///
/// # Errors
/// All mistakes of the file, also those of other profiles.
pub fn run_alias(line: &ProfileLine) -> Result<AliasRun, Problems> {
    let path = line.config.as_path();
    let failed = |list| Problems::new(Some(path.to_owned()), list);
    let whole = read(path)?;
    aliases_of(&whole, path)?;
    let directory = directory_of(Some(path));
    let mut loader = Loader::new(&directory);
    loader.file = Some(path);
    let right = loader.checked(&whole, schema());
    for member in whole.members() {
        if !is_comment(&member.key) && !matches!(member.key.as_str(), "aliases" | "$schema") {
            let message = "is beside `aliases` and applies to none of them; move it into one";
            loader.report(member.at, &member.key, ProblemKind::Contradiction, message.to_owned());
        }
    }
    let name = line.alias.as_deref().unwrap_or_default();
    let Some(alias) = right.member("aliases").and_then(|aliases| aliases.node.member(name)) else {
        if loader.problems.is_empty() {
            loader.problems.push(unknown_alias(name, &whole));
        }
        return Err(failed(loader.problems));
    };
    let profile = profile(alias);
    let is_server = infer_role(&profile) == Some(Role::Management)
        && ["server", "api_addr", "listeners", "role"].iter().any(|key| profile.key(key).is_some());
    let run = if is_server {
        let server = loader.server(std::slice::from_ref(&profile), &line.options);
        server.map(|server| AliasRun::Server(Box::new(server)))
    } else {
        loader.is_service = false;
        loader.flavor = line.flavor;
        let built = loader.build(&profile, Role::Load, String::new(), Some(&line.options));
        built.map(|built| {
            let mut run = built.engine.run;
            if let Some(api) = &mut run.api {
                api.profile = Some(path.to_owned());
            }
            AliasRun::Run(Box::new(run))
        })
    };
    match run {
        Some(AliasRun::Server(mut server)) if loader.problems.is_empty() => {
            server.file = Some(path.to_owned());
            server.notices = loader.notices;
            Ok(AliasRun::Server(server))
        }
        Some(run) if loader.problems.is_empty() => Ok(run),
        _ => Err(failed(loader.problems)),
    }
}

fn profile(alias: &Member) -> Profile {
    let path = join("aliases", &alias.key);
    let keys = alias.node.members().iter().map(|member| Key {
        name: member.key.clone(),
        path: join(&path, &member.key),
        at: member.at,
        node: member.node.clone(),
    });
    Profile { at: alias.at, position: Position::Flat, keys: keys.collect(), path: path.clone() }
}

fn unknown_alias(name: &str, whole: &Node) -> Problem {
    let names: Vec<&str> = whole
        .member("aliases")
        .map(|aliases| aliases.node.members())
        .unwrap_or_default()
        .iter()
        .map(|member| member.key.as_str())
        .filter(|name| !is_comment(name))
        .collect();
    let near = super::check::nearest(name, names.iter().copied())
        .map_or(String::new(), |near| format!("; did you mean {near:?}?"));
    let message = match names.as_slice() {
        [] => format!("there is no profile {name:?}, and no other one"),
        _ => format!("there is no profile {name:?}; the file has {}{near}", names.join(", ")),
    };
    Problem { place: None, key: "aliases".to_owned(), kind: ProblemKind::UnknownKey, message }
}

fn read(path: &Path) -> Result<Node, Problems> {
    let failed = |problem| Problems::new(Some(path.to_owned()), vec![problem]);
    let text = files::read_bounded(path, TEXT_BYTES_MAX).map_err(|error| {
        let message = files::cannot("read", path, &error);
        let kind = ProblemKind::Unreadable;
        failed(Problem { place: None, key: String::new(), kind, message })
    })?;
    tree::parse(&text).map_err(failed)
}

fn aliases_of<'n>(whole: &'n Node, path: &Path) -> Result<&'n Member, Problems> {
    let (place, message) = match whole.member("aliases") {
        Some(member) if matches!(member.node.data, Data::Object(_)) => return Ok(member),
        Some(member) => (member.at, "an object with profiles by name is needed here".to_owned()),
        None => (
            Place { line: 1, column: 1 },
            format!(
                "the file has no run profiles (an object `aliases`); a server is started by: \
                 gossipper server -config {}",
                path.display()
            ),
        ),
    };
    let (place, key) = (Some(place), "aliases".to_owned());
    let problem = Problem { place, key, kind: ProblemKind::MissingKey, message };
    Err(Problems::new(Some(path.to_owned()), vec![problem]))
}
