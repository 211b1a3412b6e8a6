//! Everything that a scenario may refer to outside of itself: keywords of the command line,
//! injection files, texts of files. The code that loads scenarios finds them; here they are only
//! names.

/// The names that a scenario may use, and the ways to resolve them.
#[derive(Clone, Copy)]
pub struct Resources<'r> {
    /// `-key` names and values.
    pub keys: &'r [(String, String)],
    /// The injection files, in the engine's order.
    pub tables: &'r [TableInfo],
    /// True if these are all files; otherwise every name of a file is accepted.
    pub are_tables_known: bool,
    /// Index of the file that `[fieldN]` means without `file=`.
    pub default_table: u16,
    /// Reads a file that a message includes with `[file name=]`, or returns the reason why that
    /// fails.
    pub read: &'r dyn Fn(&str) -> Result<Vec<u8>, String>,
    /// A hint on the places where such files are looked for.
    pub places: &'r str,
    /// `Ok` if `exec command=` is allowed, and otherwise the reason why not.
    pub commands: Result<(), &'static str>,
}

/// The facts about an injection file that a scenario depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableInfo {
    /// The name of the file without directories.
    pub name: String,
    /// True if the file has an index, so that `<lookup>` can find rows.
    pub is_indexed: bool,
}

impl<'r> Resources<'r> {
    /// Resources that consist of `keys` alone.
    pub fn keys(keys: &'r [(String, String)]) -> Self {
        Self {
            keys,
            tables: &[],
            are_tables_known: true,
            default_table: 0,
            read: &|_| Err("no files can be read here".to_owned()),
            places: "",
            commands: Ok(()),
        }
    }
}

impl std::fmt::Debug for Resources<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resources").field("tables", &self.tables).finish_non_exhaustive()
    }
}
