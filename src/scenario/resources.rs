//! What a scenario may refer to beside itself: keywords of the command line, injection files, texts
//! of files. Whoever loads scenarios knows how to find them; here they are only names.

/// See the module's documentation.
#[derive(Clone, Copy)]
pub struct Resources<'r> {
    /// `-key` names and values.
    pub keys: &'r [(String, String)],
    /// The injection files, in the engine's order.
    pub tables: &'r [TableInfo],
    /// `true` if these are all files there will be; if not, every name of a file is taken as good.
    pub are_tables_known: bool,
    /// Which of them `[fieldN]` means without `file=`.
    pub default_table: u16,
    /// The content of a file that a message includes with `[file name=]`, or why there is none.
    pub read: &'r dyn Fn(&str) -> Result<Vec<u8>, String>,
    /// A hint on where such files are looked for.
    pub places: &'r str,
    /// Whether `exec command=` is allowed; if not, what forbids it.
    pub commands: Result<(), &'static str>,
}

/// An injection file, as far as a scenario needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableInfo {
    /// Its name without directories.
    pub name: String,
    /// Whether it has an index, so that `<lookup>` can find rows.
    pub is_indexed: bool,
}

impl<'r> Resources<'r> {
    /// Nothing but `keys`.
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
