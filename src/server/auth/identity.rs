//! The author of a request, and the author's rights.
//!
//! Roles are ordered: a role that may operate may also look. A route needs one of three
//! permissions. Which route needs which is decided by the router.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::api_token::TokenHash;
use super::token::TokenId;

/// The role of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks at everything, changes nothing.
    Viewer,
    /// Steers runs: rate, pause, scenarios, listeners, clients.
    Operator,
    /// Also decides about users and settings, and reads the audit log.
    Admin,
}

impl Role {
    /// All roles, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// The name as it stands in the database, in tokens and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// Tells whether the role includes `permission`.
    pub fn may(self, permission: Permission) -> bool {
        self >= permission.least_role()
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a role; the roles are viewer, operator and admin")]
pub struct UnknownRole(pub String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        let role = Self::ALL.into_iter().find(|role| role.as_str().eq_ignore_ascii_case(name));
        role.ok_or_else(|| UnknownRole(name.chars().take(32).collect()))
    }
}

/// A right that a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Reading state: statistics, scenario, control, listeners, the live WebSocket.
    View,
    /// Changing what runs: control, scenarios, listeners, clients.
    Operate,
    /// Users, audit log, settings.
    Administer,
}

impl Permission {
    /// All permissions, the least first.
    pub const ALL: [Self; 3] = [Self::View, Self::Operate, Self::Administer];

    /// The lowest role that has it.
    pub fn least_role(self) -> Role {
        match self {
            Self::View => Role::Viewer,
            Self::Operate => Role::Operator,
            Self::Administer => Role::Admin,
        }
    }
}

/// The kind of proof that a request came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdentityKind {
    /// A token from a login.
    User,
    /// The one token of the configuration.
    StaticToken,
    /// No proof: authentication is off.
    Anonymous,
    /// A token for programs.
    ApiToken,
    /// A ticket that another identity drew.
    Ticket,
}

/// The author of a request that was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name in logs and in the audit log.
    pub username: String,
    /// The role that decides about rights.
    pub role: Role,
    /// The kind of proof.
    pub kind: IdentityKind,
    /// The login behind it; `None` without users.
    pub(super) session: Option<Session>,
    /// The token for programs behind it.
    pub(super) api_token: Option<TokenUse>,
}

/// The token for programs behind an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TokenUse {
    pub(super) hash: TokenHash,
    pub(super) expires_at_s: Option<i64>,
}

/// The login behind an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) user_id: i64,
    pub(super) epoch: i64,
    pub(super) token_id: TokenId,
    pub(super) expires_at_s: i64,
}

impl Identity {
    /// The identity of every request while authentication is off. It may do everything.
    pub(super) fn anonymous() -> Self {
        Self {
            username: "anonymous".to_owned(),
            role: Role::Admin,
            kind: IdentityKind::Anonymous,
            session: None,
            api_token: None,
        }
    }

    /// The identity of a request with the token of the configuration. The token is shared and
    /// cannot be taken from one person, so this identity may not change settings.
    pub(super) fn static_token() -> Self {
        Self {
            username: "api_token".to_owned(),
            role: Role::Operator,
            kind: IdentityKind::StaticToken,
            session: None,
            api_token: None,
        }
    }

    /// The row of the user, if the identity is one.
    pub fn user_id(&self) -> Option<i64> {
        self.session.as_ref().map(|session| session.user_id)
    }

    /// The end of the login or the token, in seconds of Unix time; `None` if there is no end.
    pub fn expires_at(&self) -> Option<i64> {
        let of_token = self.api_token.and_then(|token| token.expires_at_s);
        self.session.as_ref().map(|session| session.expires_at_s).or(of_token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_has_its_permissions_and_those_below() {
        let table = [
            (Role::Viewer, [true, false, false]),
            (Role::Operator, [true, true, false]),
            (Role::Admin, [true, true, true]),
        ];
        for (role, expected) in table {
            assert_eq!(Permission::ALL.map(|permission| role.may(permission)), expected, "{role}");
        }
    }

    #[test]
    fn names_are_read_back() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
        assert_eq!("ADMIN".parse(), Ok(Role::Admin));
        let error = "root".parse::<Role>().unwrap_err().to_string();
        assert_eq!(error, "\"root\" is not a role; the roles are viewer, operator and admin");
        assert!("".parse::<Role>().is_err());
    }
}
