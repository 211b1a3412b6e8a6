//! The data files of scenarios: injection files, and texts that messages include.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::RunError;
use super::kept;
use crate::config::{CallIds, RunConfig, ScenarioSource, Transport};
use crate::engine::{CallIdStyle, CircuitMap, DataConfig, Programs, digest_uri};
use crate::files::{Access, Folder};
use crate::injection::{InjectionFile, Order};
use crate::scenario::{
    self, Action, Field, Program, Resources, TableInfo, Template, WrittenAuthentication,
};

/// Largest text in a message: no transport carries more.
const TEXT_BYTES_MAX: u64 = 65_535;

/// The origin of a scenario, which decides on its permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// `true` if it answers calls beside the main one; it has its own default injection file.
    pub(super) is_receiving: bool,
    /// `true` if it came over the API; it may then read only files of the folder for such
    /// scenarios.
    pub(super) is_sent: bool,
    /// `true` if it may run shell commands, provided that the user allows them at all.
    pub(super) allows_commands: bool,
}

impl Origin {
    /// The main scenario, named by the user.
    pub(super) const MAIN: Self =
        Self { is_receiving: false, is_sent: false, allows_commands: true };
}

/// A warning about an injection file.
pub(super) struct Remark<'t> {
    pub(super) file: &'t str,
    pub(super) line: usize,
    pub(super) message: String,
    pub(super) hint: &'static str,
}

impl fmt::Display for Remark<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}; {}", self.file, self.line, self.message, self.hint)
    }
}

/// The injection files of a run.
pub(super) struct Tables {
    pub(super) files: Vec<Arc<InjectionFile>>,
    infos: Vec<TableInfo>,
    /// `true` if no more files will be added.
    are_known: bool,
    receiving: u16,
    keys: Vec<(String, String)>,
}

impl Tables {
    /// Reads and indexes all files that the configuration names.
    pub(super) fn load(config: &RunConfig) -> Result<Self, RunError> {
        let mut errors = Vec::new();
        let tables = Self::collect(config, &mut errors);
        match errors.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(tables),
        }
    }

    /// Does the same as [`load`](Self::load), but collects all errors and all usable files.
    pub(super) fn collect(config: &RunConfig, errors: &mut Vec<RunError>) -> Self {
        let mut files: Vec<InjectionFile> = Vec::new();
        // Both scenarios may read one file.
        let receiving = config.injection_receiving.iter();
        let receiving = receiving.filter(|path| !config.injection.contains(path));
        for path in config.injection.iter().chain(receiving) {
            match read(path, &config.access) {
                Ok(file) if files.iter().any(|known| known.name() == file.name()) => {
                    errors.push(RunError::InjectionTwice { name: file.name().to_owned() });
                }
                Ok(file) => files.push(file),
                Err(error) => errors.push(error),
            }
        }
        for (name, field) in &config.injection_indexes {
            let base = base_name(Path::new(name));
            let known: Vec<String> = files.iter().map(|file| file.name().to_owned()).collect();
            match files.iter_mut().find(|file| file.name() == base) {
                Some(file) => file.build_index(*field),
                None => errors
                    .push(RunError::InjectionIndex { name: name.clone(), known: known.join(", ") }),
            }
        }
        let infos = files
            .iter()
            .map(|file| TableInfo {
                name: file.name().to_owned(),
                is_indexed: file.indexed_field().is_some(),
            })
            .collect();
        let receiving = config.injection_receiving.as_ref().map_or(0, |path| {
            let base = base_name(path);
            files.iter().position(|file| file.name() == base).unwrap_or(0) as u16
        });
        let files = files.into_iter().map(Arc::new).collect();
        let mut keys = config.keys.clone();
        let trunk = &config.trunk;
        let lines = |list: Vec<String>| list.join("\r\n");
        let only = |text: &Option<String>, name: &str| {
            text.as_ref().map(|value| format!("{name}: {value}"))
        };
        let extra = Some(lines(trunk.extra_headers.clone())).filter(|text| !text.is_empty());
        for (name, text) in [
            ("trunk_from", trunk.from.clone()),
            ("trunk_pai", only(&trunk.asserted_identity, "P-Asserted-Identity")),
            ("trunk_provider", only(&trunk.provider, "X-provider")),
            ("trunk_extra", extra),
        ] {
            keys.extend(text.map(|text| (name.to_owned(), text)));
        }
        Self { files, infos, are_known: true, receiving, keys }
    }

    /// Allows references to files that are not loaded: they may be named later.
    pub(super) fn leave_open(&mut self) {
        self.are_known = false;
    }

    /// Warnings about the files by themselves.
    pub(super) fn remarks(&self) -> impl Iterator<Item = Remark<'_>> {
        let remarks = |file| [remark_on_end(file), remark_on_keyword(file)];
        self.files.iter().flat_map(move |file| remarks(file).into_iter().flatten())
    }

    /// Calls `compile` with the files that a scenario may refer to. `source` gives the folder of
    /// its own files.
    pub(super) fn with_resources<T>(
        &self,
        config: &RunConfig,
        source: &ScenarioSource,
        origin: Origin,
        compile: impl FnOnce(&Resources<'_>) -> T,
    ) -> T {
        let folder = match source {
            ScenarioSource::File(path) => path.parent().map(Path::to_owned),
            ScenarioSource::Builtin(_) => None,
        };
        let read = |name: &str| match origin.is_sent {
            false => text_of(name, folder.as_deref(), &config.access),
            true => content(open_beside(name, folder.as_deref(), &config.access)),
        };
        let places = match origin.is_sent || config.access.is_confined() {
            false => "names are relative to the current directory, then to the scenario's",
            true => "names are relative to the folder of the scenario",
        };
        let commands = match origin.allows_commands {
            false => Err("the policy for scenarios that are sent to a server (allow_exec)"),
            _ if !config.commands => Err("-no_exec"),
            _ => Ok(()),
        };
        compile(&Resources {
            keys: &self.keys,
            tables: &self.infos,
            are_tables_known: self.are_known,
            default_table: if origin.is_receiving { self.receiving } else { 0 },
            read: &read,
            places,
            commands,
        })
    }

    /// The data for the engines, and notices for the user. A program that is kept may turn calls to
    /// forbidden addresses; those calls fail then.
    pub(super) fn data(
        &self,
        config: &RunConfig,
        programs: &Programs,
        is_kept: impl Fn(&Program) -> bool,
        resolve: impl Fn(&str) -> Result<IpAddr, RunError>,
        notices: &mut Vec<String>,
    ) -> Result<DataConfig, RunError> {
        let uses_circuits = programs
            .all()
            .flat_map(|program| program.templates())
            .flat_map(Template::fields)
            .any(|field| *field == Field::Circuit);
        if uses_circuits && config.circuits.is_none() {
            return Err(RunError::NoCircuits);
        }
        for program in programs.all() {
            match check_turns(config, program) {
                Err(error) if is_kept(program) => notices.push(kept::failing(&error)),
                result => result?,
            }
        }
        self.note_gaps(config, programs, notices);
        let (mut hosts, mut failed) = (Vec::new(), None);
        let all = programs.all().map(|program| (program, is_kept(program)));
        let all = all.flat_map(|(of, is_kept)| of.written_hosts().map(move |host| (host, is_kept)));
        for (host, is_kept) in all {
            if hosts.iter().any(|(known, _)| *known == host) {
                continue;
            }
            match resolve(&host) {
                Ok(ip) => hosts.push((host, ip)),
                Err(error) if is_kept => failed = failed.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        // One notice is enough: a client may write any number of names.
        notices.extend(failed.iter().map(kept::failing));
        Ok(DataConfig {
            auth_user: config.auth_user.clone(),
            auth_password: config.auth_password.clone(),
            auth_uri: config.auth_uri.as_deref().map(digest_uri),
            tables: self.files.clone(),
            per_source: config.transport == Transport::UdpPerAddress,
            circuits: config.circuits.map(|map| CircuitMap {
                first: map.first,
                second: map.second,
                third: map.third,
                fourth: map.fourth,
            }),
            call_ids: match &config.call_ids {
                CallIds::Own => CallIdStyle::Own,
                CallIds::Format(format) => CallIdStyle::Format(format.clone().into_bytes()),
                CallIds::Uuid => CallIdStyle::Uuid,
                CallIds::UuidCompact => CallIdStyle::UuidCompact,
                CallIds::RandomHex => CallIdStyle::RandomHex,
                CallIds::Timestamp => CallIdStyle::Timestamp,
            },
            hosts,
            gate: None,
            gate_for_sent: None,
        })
    }

    /// Columns that scenarios read and rows lack. As in SIPp, the fields are empty, but here with a
    /// warning.
    pub(super) fn gaps<'p>(&self, programs: impl Iterator<Item = &'p Program>) -> Vec<Remark<'_>> {
        let mut columns: Vec<(u16, u16)> = programs
            .flat_map(|program| program.templates())
            .flat_map(Template::fields)
            .filter_map(|field| match field {
                Field::Injected(injected) => Some((injected.table, injected.field)),
                _ => None,
            })
            .collect();
        columns.sort_unstable();
        columns.dedup();
        let gap = |(table, field)| {
            let file = self.files.get(usize::from(table))?;
            let (line, rows) = file.ragged(field)?;
            let like_it = if rows == 1 { "row" } else { "rows" };
            let message = format!(
                "the row has no column {field}, which the scenario reads ({rows} {like_it} like \
                 this)"
            );
            Some(Remark { file: file.name(), line, message, hint: "the field is empty then" })
        };
        columns.into_iter().filter_map(gap).collect()
    }

    /// Adds notices about doubtful combinations of the files and the run.
    fn note_gaps(&self, config: &RunConfig, programs: &Programs, notices: &mut Vec<String>) {
        let gaps = self.gaps(programs.all().map(|program| &**program));
        notices.extend(gaps.iter().map(Remark::to_string));
        notices.extend(self.remarks().map(|remark| remark.to_string()));
        for file in self.files.iter().filter(|file| file.order() == Order::User) {
            let (name, rows) = (file.name(), file.rows());
            match config.users {
                None => notices.push(format!(
                    "{name}: USER rows belong to the users of -users, which is not given: fields \
                     are empty"
                )),
                Some(users) if rows < users => notices.push(format!(
                    "{name}: {rows} USER {} for the {users} users of -users: the fields of {} are \
                     empty; add rows, or give -users {rows}",
                    if rows == 1 { "row" } else { "rows" },
                    match users - rows {
                        1 => format!("user {users}"),
                        _ => format!("users {} to {users}", rows + 1),
                    }
                )),
                Some(_) => {}
            }
        }
    }
}

/// Checks that a program with `<setdest>` runs over a transport that can turn calls.
///
/// # Errors
/// The calls are on connections.
pub(super) fn check_turns(config: &RunConfig, program: &Program) -> Result<(), RunError> {
    let mut actions = program.steps.iter().flat_map(|step| &step.actions);
    let is_turning = actions.any(|action| matches!(action, Action::SetDest(_)));
    match is_turning && config.transport.is_stream() {
        true => Err(RunError::SetDestOverStream { transport: config.transport.protocol() }),
        false => Ok(()),
    }
}

/// A warning about rows that are left out.
fn remark_on_end(file: &Arc<InjectionFile>) -> Option<Remark<'_>> {
    let rest = file.rest()?;
    let rows = match rest.rows {
        1 => "1 row after it is".to_owned(),
        rows => format!("{rows} rows after it are"),
    };
    Some(Remark {
        file: file.name(),
        line: rest.line,
        message: format!("an empty line ends the file: {rows} left out"),
        hint: "remove the line; a comment begins with #",
    })
}

/// A warning about the first keyword in a field that has no effect there. SIPp evaluates only
/// `[authentication]`, and leaves all others as they are.
fn remark_on_keyword(file: &Arc<InjectionFile>) -> Option<Remark<'_>> {
    if !file.has_brackets() {
        return None;
    }
    file.lines().find_map(|(line, row)| {
        let (message, hint) = if let Some(found) = WrittenAuthentication::find(row) {
            let why = WrittenAuthentication::parse(&row[found]).err()?;
            (format!("[authentication]: {why}"), "calls with this row fail when they answer")
        } else {
            let text = String::from_utf8_lossy(row);
            let keyword = scenario::first_keyword(&text)?;
            let hint = "of all keywords only [authentication ...] is evaluated in a field";
            (format!("{keyword} stays text, as in SIPp"), hint)
        };
        Some(Remark { file: file.name(), line, message, hint })
    })
}

fn read(path: &Path, access: &Access) -> Result<InjectionFile, RunError> {
    let failed = |source| RunError::InjectionFile { path: path.to_owned(), source };
    let bytes = access.read(path).map_err(failed)?;
    let mut file = InjectionFile::parse(&path.display().to_string(), bytes)?;
    file.rename(&base_name(path));
    Ok(file)
}

fn base_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Opens a file that a sent scenario names: it must be in `folder`, as no other file of the host is
/// allowed.
pub(super) fn open_beside(name: &str, folder: Option<&Path>, access: &Access) -> io::Result<File> {
    let is_plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    match (access.folder(Folder::Scenarios), folder) {
        (Some(folder), _) if is_plain => access.open_sent(&folder.join(name)),
        (Some(_), _) => Err(io::Error::other(format!(
            "a scenario that is sent over the API can read files only in the folder {:?} of the \
             data directory",
            Folder::Scenarios.name()
        ))),
        (None, Some(folder)) if is_plain => access.open_to_read(&folder.join(name)),
        _ => Err(io::Error::other(
            "a scenario that was sent over the API can read only files beside the scenario file",
        )),
    }
}

/// The content of a file that a message includes. It is looked for in the working directory, beside
/// the scenario, and in the folder of sent scenarios, because a client may have written the user's
/// file.
fn text_of(name: &str, folder: Option<&Path>, access: &Access) -> Result<Vec<u8>, String> {
    let scenarios = access.folder(Folder::Scenarios);
    if access.is_confined() {
        let folder = folder.map(Path::to_owned).or(scenarios).unwrap_or_default();
        return content(access.open_to_read(&folder.join(name)));
    }
    let here = PathBuf::from(name);
    let embedded = folder.map_or_else(|| here.clone(), |folder| folder.join(name));
    if here.exists() {
        return content(access.open_to_read(&here));
    }
    match scenarios.map(|scenarios| scenarios.join(name)) {
        Some(sent) if !embedded.exists() && sent.exists() => content(access.open_sent(&sent)),
        _ => content(access.open_to_read(&embedded)),
    }
}

fn content(file: io::Result<File>) -> Result<Vec<u8>, String> {
    let file = file.map_err(|error| error.to_string())?;
    let mut content = Vec::new();
    file.take(TEXT_BYTES_MAX + 1).read_to_end(&mut content).map_err(|error| error.to_string())?;
    match content.len() as u64 > TEXT_BYTES_MAX {
        true => Err(format!("the file has more than the {TEXT_BYTES_MAX} bytes of a message")),
        false => Ok(content),
    }
}
