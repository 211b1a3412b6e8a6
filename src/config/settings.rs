//! The forms of the tables of settings: one row for each value, with its meaning, type and default.
//! A value has one name and one default that way, in drafts, configurations and engines.

/// Declares a struct whose fields are rows `name: Type = default`, and its `Default`.
macro_rules! settings {
    (
        $(#[$attribute:meta])*
        pub struct $name:ident {
            $( $(#[$row_attribute:meta])* $field:ident: $kind:ty = $default:expr, )*
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $( $(#[$row_attribute])* pub $field: $kind, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }
    };
}

/// Declares `RunDraft`, `RunConfig` and `RunDraft::settle`, the step between them, from the four
/// kinds of rows that `table.rs` explains.
macro_rules! run_settings {
    (
        same {
            $( $(#[$same_doc:meta])* $same:ident: $same_kind:ty = $default:expr, )*
        }
        decided {
            $( $(#[$decided_doc:meta])* $decided:ident: $heard:ty => $decided_kind:ty = $decide:expr, )*
        }
        given {
            $( $(#[$given_doc:meta])* $given:ident: $given_kind:ty, )*
        }
        derived {
            $( $(#[$derived_doc:meta])* $derived:ident: $derived_kind:ty = $derive:expr, )*
        }
    ) => {
        /// The given settings of a run; a later source overwrites an earlier one.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)] // Some rows of `given` stand in pairs.
        pub struct RunDraft {
            $( $(#[$same_doc])* pub $same: $same_kind, )*
            $( $(#[$decided_doc])* pub $decided: $heard, )*
            $( $(#[$given_doc])* pub $given: $given_kind, )*
        }

        impl Default for RunDraft {
            fn default() -> Self {
                Self {
                    $( $same: $default, )*
                    $( $decided: Default::default(), )*
                    $( $given: Default::default(), )*
                }
            }
        }

        /// The configuration of a run, resolved and checked. Host names are not looked up yet, and
        /// nothing that depends on the scenario (its role, its existence) is decided yet.
        #[derive(Clone, Debug, PartialEq)]
        pub struct RunConfig {
            $( $(#[$derived_doc])* pub $derived: $derived_kind, )*
            $( $(#[$decided_doc])* pub $decided: $decided_kind, )*
            $( $(#[$same_doc])* pub $same: $same_kind, )*
        }

        impl RunDraft {
            /// Decides the open settings, by the defaults of `flavor`.
            pub(super) fn settle(self, flavor: Flavor) -> RunConfig {
                $(
                    let decide: fn(&Self, Flavor) -> $decided_kind = $decide;
                    let $decided = decide(&self, flavor);
                )*
                $(
                    let derive: fn(&Self, Flavor) -> $derived_kind = $derive;
                    let $derived = derive(&self, flavor);
                )*
                RunConfig { $( $derived, )* $( $decided, )* $( $same: self.$same, )* }
            }
        }
    };
}

pub(super) use {run_settings, settings};
