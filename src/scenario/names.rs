//! The names of a scenario: variables and their scopes, labels, counters, kept headers.

use std::collections::{HashMap, HashSet};

use super::decode;
use super::error::{Fault, Position, Sink};
use super::keyword::Names;
use super::media::SourceSpec;
use super::program::{Program, VariableRef};
use super::resources::Resources;
use super::xml::Element;

/// The variable that remembers the step at which a call was when `_unexp.main` took it away.
const RETURN_ADDRESS: &str = "_unexp.retaddr";
/// The variable in which SIPp keeps an interrupted pause, for `<pauserestore>`.
const PAUSED_ADDRESS: &str = "_unexp.pausedaddr";
/// The variable behind `[dtmf_digits]`, with a name that no scenario gives to another one.
pub(super) const DIGITS: &str = "[dtmf_digits";
/// Most headers that are kept: the bits of a `Keep`.
const LAST_HEADERS_MAX: usize = 64;
/// Most variables of a scope: every call of a run holds all of them.
const VARIABLES_MAX: usize = 4096;
/// Most names that are compared with all others to suggest the one that was meant.
const SUGGESTIONS_MAX: usize = 20;
/// Most durations, counters or displays: each is a column of the reports.
const COLUMNS_MAX: usize = 256;
/// Longest name of a column in bytes.
const COLUMN_NAME_MAX: usize = 256;
/// Most actions of all steps together.
const ACTIONS_MAX: usize = 1 << 16;
/// Most sources of media.
const SOURCES_MAX: usize = 128;
/// Most bytes of all compiled texts. The file bounds its own text, but not the number of times that
/// a `[file name=]` or a `-key` is put in.
const TEXTS_BYTES_MAX: usize = 32 << 20;

#[derive(Debug)]
struct Variable {
    reference: VariableRef,
    first_use: Position,
    uses: u32,
}

/// Collector of names while steps are compiled, which checks them at the end.
#[derive(Debug)]
pub(super) struct Table<'k> {
    variables: HashMap<String, Variable>,
    pub(super) call_variables: Vec<String>,
    pub(super) user_variables: Vec<String>,
    pub(super) global_variables: Vec<String>,
    referenced: HashSet<String>,
    /// Words in elements with faults: they may be uses of names.
    excused: HashSet<String>,
    pub(super) last_headers: Vec<String>,
    pub(super) rtds: Vec<String>,
    pub(super) counters: Vec<String>,
    pub(super) displays: Vec<String>,
    pub(super) sources: Vec<SourceSpec>,
    actions: usize,
    texts_bytes: usize,
    resources: &'k Resources<'k>,
    sink: &'k Sink,
}

/// The scope of a declared variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Call,
    User,
    Global,
}

impl<'k> Table<'k> {
    pub(super) fn new(resources: &'k Resources<'k>, sink: &'k Sink) -> Self {
        Self {
            variables: HashMap::new(),
            call_variables: Vec::new(),
            user_variables: Vec::new(),
            global_variables: Vec::new(),
            referenced: HashSet::new(),
            excused: HashSet::new(),
            last_headers: Vec::new(),
            rtds: Vec::new(),
            counters: Vec::new(),
            displays: Vec::new(),
            sources: Vec::new(),
            actions: 0,
            texts_bytes: 0,
            resources,
            sink,
        }
    }

    /// Notes the names in an element with a fault, so that they are not reported as missing
    /// elsewhere.
    pub(super) fn excuse(&mut self, element: &Element) {
        for attribute in &element.attributes {
            self.excused.extend(split_list(&attribute.value).map(str::to_owned));
            self.excuse_text(&attribute.value);
        }
        self.excuse_text(&element.text);
        for child in &element.children {
            self.excuse(child);
        }
    }

    fn excuse_text(&mut self, text: &str) {
        let names = text.split("[$").skip(1).filter_map(|rest| rest.split(']').next());
        self.excused.extend(names.map(str::to_owned));
    }

    /// Names whose uses may be hidden in elements with faults.
    pub(super) fn excused(&self) -> &HashSet<String> {
        &self.excused
    }

    /// The reason why `exec command=` is forbidden, if it is.
    pub(super) fn commands(&self) -> Result<(), &'static str> {
        self.resources.commands
    }

    /// The indexed injection file of that name.
    pub(super) fn indexed_table(&self, name: &str, position: Position) -> Result<u16, Fault> {
        let table = self.table(Some(name), position)?;
        match self.resources.tables.get(usize::from(table)) {
            Some(info) if !info.is_indexed => {
                Err(Fault::new(position, format!("\"{name}\" has no index")).hint(format!(
                    "add -infindex {name} FIELD with the column to look for, from 0"
                )))
            }
            _ => Ok(table),
        }
    }

    /// Declares the variables of a `<Global>` or `<User>` element.
    pub(super) fn declare(
        &mut self,
        list: &str,
        scope: Scope,
        position: Position,
    ) -> Result<(), Fault> {
        for name in split_list(list) {
            check_variable_name(name, position)?;
            if self.variables.contains_key(name) {
                let fault = Fault::new(position, format!("variable \"{name}\" declared twice"));
                self.sink.warn(fault.hint("the first declaration counts"));
                continue;
            }
            let reference = self.allocate(name, scope, position)?;
            // A declared variable may get its value by -set: one use is enough.
            let variable = Variable { reference, first_use: position, uses: 1 };
            self.variables.insert(name.to_owned(), variable);
        }
        Ok(())
    }

    /// Takes the names of a `<Reference>`, which are exempt from the check of uses.
    pub(super) fn reference(&mut self, list: &str, position: Position) -> Result<(), Fault> {
        for name in split_list(list) {
            check_variable_name(name, position)?;
            self.referenced.insert(name.to_owned());
        }
        Ok(())
    }

    fn allocate(
        &mut self,
        name: &str,
        scope: Scope,
        position: Position,
    ) -> Result<VariableRef, Fault> {
        let (names, wrap): (_, fn(u16) -> VariableRef) = match scope {
            Scope::Call => (&mut self.call_variables, VariableRef::Call),
            Scope::User => (&mut self.user_variables, VariableRef::User),
            Scope::Global => (&mut self.global_variables, VariableRef::Global),
        };
        if names.len() >= VARIABLES_MAX {
            return Err(Fault::new(position, format!("more than {VARIABLES_MAX} variables")));
        }
        names.push(name.to_owned());
        Ok(wrap(names.len() as u16 - 1))
    }

    /// `_unexp.retaddr`, if the scenario uses it.
    pub(super) fn return_address(&self) -> Option<VariableRef> {
        self.variables.get(RETURN_ADDRESS).map(|variable| variable.reference)
    }

    /// `_unexp.pausedaddr`, if the scenario uses it.
    pub(super) fn paused_address(&self) -> Option<VariableRef> {
        self.variables.get(PAUSED_ADDRESS).map(|variable| variable.reference)
    }

    /// The variable of received digits, if the scenario reads them.
    pub(super) fn digits(&self) -> Option<VariableRef> {
        self.variables.get(DIGITS).map(|variable| variable.reference)
    }

    /// Reads a comma-separated `assign_to` list.
    pub(super) fn variables(
        &mut self,
        list: &str,
        position: Position,
    ) -> Result<Vec<VariableRef>, Fault> {
        split_list(list).map(|name| self.variable(name, position)).collect()
    }

    pub(super) fn rtd(&mut self, name: &str, position: Position) -> Result<u16, Fault> {
        column(&mut self.rtds, name, "durations", position)
    }

    pub(super) fn counter(&mut self, name: &str, position: Position) -> Result<u16, Fault> {
        column(&mut self.counters, name, "counters", position)
    }

    pub(super) fn display(&mut self, name: &str, position: Position) -> Result<u16, Fault> {
        column(&mut self.displays, name, "displays", position)
    }

    /// The index of a source of media; it is kept once.
    pub(super) fn source(&mut self, spec: SourceSpec, position: Position) -> Result<u16, Fault> {
        if let Some(known) = self.sources.iter().position(|known| *known == spec) {
            return Ok(known as u16);
        }
        if self.sources.len() >= SOURCES_MAX {
            return Err(Fault::new(position, format!("more than {SOURCES_MAX} sources of media")));
        }
        self.sources.push(spec);
        Ok(self.sources.len() as u16 - 1)
    }

    /// Counts the action at `position`.
    ///
    /// # Errors
    /// There are too many actions.
    pub(super) fn action(&mut self, position: Position) -> Result<(), Fault> {
        self.actions += 1;
        if self.actions <= ACTIONS_MAX {
            return Ok(());
        }
        Err(Fault::new(position, format!("more than {ACTIONS_MAX} actions in the scenario"))
            .hint("write repeated actions as a loop: use <jump> or next="))
    }

    /// Reports names that are used only once: most are typing errors. SIPp refuses them, and so do
    /// we.
    pub(super) fn check_uses(&self, sink: &Sink) {
        let reserved = ["_", RETURN_ADDRESS, PAUSED_ADDRESS, DIGITS];
        let exempt = |name: &String| {
            reserved.contains(&name.as_str())
                || self.referenced.contains(name)
                || self.excused.contains(name)
        };
        let unused = |(name, variable): &(&String, &Variable)| variable.uses < 2 && !exempt(name);
        let mut unused: Vec<_> = self.variables.iter().filter(unused).collect();
        unused.sort_by_key(|(_, variable)| variable.first_use);
        for (index, (name, variable)) in unused.into_iter().enumerate() {
            let what = match variable.reference {
                VariableRef::Call(_) => "used only once",
                _ => "declared but never used",
            };
            let hint = format!("if that is meant, add <Reference variables=\"{name}\"/>");
            let others = self.variables.keys().map(String::as_str).filter(|other| other != name);
            // The first names are compared with all others.
            let others = others.take(if index < SUGGESTIONS_MAX { VARIABLES_MAX } else { 0 });
            let fault = Fault::new(variable.first_use, format!("variable \"{name}\" is {what}"));
            sink.error(fault.hint(hint).suggest(name, others));
        }
    }
}

impl Names for Table<'_> {
    fn fault(&mut self, fault: Fault) -> Result<(), Fault> {
        self.sink.error(fault);
        Ok(())
    }

    fn warn(&mut self, fault: Fault) {
        self.sink.warn(fault);
    }

    fn variable(&mut self, name: &str, position: Position) -> Result<VariableRef, Fault> {
        check_variable_name(name, position)?;
        if let Some(variable) = self.variables.get_mut(name) {
            variable.uses += 1;
            return Ok(variable.reference);
        }
        let reference = self.allocate(name, Scope::Call, position)?;
        self.variables
            .insert(name.to_owned(), Variable { reference, first_use: position, uses: 1 });
        Ok(reference)
    }

    fn last_header(&mut self, name: &str, position: Position) -> Result<u16, Fault> {
        let name = name.to_ascii_lowercase();
        let index = intern(&mut self.last_headers, &name);
        if usize::from(index) >= LAST_HEADERS_MAX {
            return Err(Fault::new(
                position,
                format!("more than {LAST_HEADERS_MAX} different [last_*] headers"),
            )
            .hint("use [last_message] or an ereg action for the rest"));
        }
        Ok(index)
    }

    fn keep(&mut self, bytes: usize, position: Position) -> Result<(), Fault> {
        if bytes > TEXTS_BYTES_MAX - self.texts_bytes {
            let message = format!("all texts together have more than {TEXTS_BYTES_MAX} bytes");
            return Err(Fault::new(position, message)
                .hint("a file or a -key counts each time that it is inserted"));
        }
        self.texts_bytes += bytes;
        Ok(())
    }

    fn key(&self, name: &str) -> Option<&str> {
        let keys = self.resources.keys;
        keys.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn table(&self, name: Option<&str>, position: Position) -> Result<u16, Fault> {
        let Resources { tables, default_table, are_tables_known, .. } = *self.resources;
        if !are_tables_known {
            return Ok(default_table);
        }
        if tables.is_empty() {
            return Err(Fault::new(
                position,
                "a field of an injection file, but there is no such file",
            )
            .hint("give the file with -inf FILE"));
        }
        let Some(name) = name else { return Ok(default_table) };
        // SIPp tells files apart by their names alone.
        let name = name.rsplit('/').next().unwrap_or(name);
        match tables.iter().position(|table| table.name == name) {
            Some(index) => Ok(index as u16),
            None => {
                let known: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
                Err(Fault::new(position, format!("there is no injection file \"{name}\""))
                    .hint(format!("-inf gave {}", known.join(", ")))
                    .suggest(name, known.iter().copied()))
            }
        }
    }

    fn file_text(&self, name: &str) -> Result<Vec<u8>, String> {
        (self.resources.read)(name)
    }

    fn file_places(&self) -> &str {
        self.resources.places
    }
}

/// The names of a compiled program, for texts that come with the data of a run.
pub(super) struct Known<'p> {
    pub(super) program: &'p Program,
    /// The injection file of a name, or without a name the file of the text itself.
    pub(super) tables: &'p dyn Fn(Option<&str>) -> Option<u16>,
}

impl Names for Known<'_> {
    fn variable(&mut self, name: &str, position: Position) -> Result<VariableRef, Fault> {
        let place = |names: &[String]| {
            names.iter().position(|known| known == name).map(|index| index as u16)
        };
        let Program { call_variables, user_variables, global_variables, .. } = self.program;
        let known = place(call_variables).map(VariableRef::Call);
        let known = known.or_else(|| place(user_variables).map(VariableRef::User));
        let known = known.or_else(|| place(global_variables).map(VariableRef::Global));
        known.ok_or_else(|| Fault::new(position, format!("there is no variable \"{name}\"")))
    }

    fn last_header(&mut self, name: &str, position: Position) -> Result<u16, Fault> {
        let is_known = |known: &String| known.eq_ignore_ascii_case(name);
        let index = self.program.last_headers.iter().position(is_known);
        let missing = || Fault::new(position, format!("the scenario keeps no {name} header"));
        index.map(|index| index as u16).ok_or_else(missing)
    }

    fn key(&self, _: &str) -> Option<&str> {
        None
    }

    fn table(&self, name: Option<&str>, position: Position) -> Result<u16, Fault> {
        (self.tables)(name).ok_or_else(|| Fault::new(position, "there is no such injection file"))
    }

    fn fault(&mut self, fault: Fault) -> Result<(), Fault> {
        Err(fault)
    }

    fn warn(&mut self, _: Fault) {}

    fn file_text(&self, _: &str) -> Result<Vec<u8>, String> {
        Err("files are read before the first call".to_owned())
    }
}

/// Tells whether variables and transactions may have this name. SIPp accepts all characters but
/// those that separate lists and keywords.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| matches!(c, '$' | ',' | ']') || c.is_control())
}

fn check_variable_name(name: &str, position: Position) -> Result<(), Fault> {
    if !is_name(name) {
        return Err(Fault::new(position, format!("\"{name}\" is not a variable name"))
            .hint("a name has neither '$' nor ','; the '$' is written in keywords only"));
    }
    Ok(())
}

fn column(
    list: &mut Vec<String>,
    name: &str,
    what: &str,
    position: Position,
) -> Result<u16, Fault> {
    if name.trim().is_empty() {
        return Err(Fault::new(position, format!("{what} need a name")));
    }
    if name.len() > COLUMN_NAME_MAX {
        let message = format!("a name of more than {COLUMN_NAME_MAX} bytes");
        return Err(Fault::new(position, message).hint("it heads a column of the reports"));
    }
    let index = intern(list, &decode::shown(name));
    match list.len() {
        ..=COLUMNS_MAX => Ok(index),
        _ => Err(Fault::new(position, format!("more than {COLUMNS_MAX} different {what}"))),
    }
}

fn intern(list: &mut Vec<String>, name: &str) -> u16 {
    if let Some(index) = list.iter().position(|known| known == name) {
        return index as u16;
    }
    list.push(name.to_owned());
    list.len() as u16 - 1
}

pub(super) fn split_list(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty())
}
