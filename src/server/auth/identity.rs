//! The author of a request, and the author's rights.
//!
//! Roles are ordered: a role that may operate may also look. A route needs one of three
//! permissions. Which route needs which is decided by the router.

use super::api_token::TokenHash;
use super::token::TokenId;
pub use crate::config::{Role, UnknownRole};

impl Role {
    /// Tells whether the role includes `permission`.
    pub fn may(self, permission: Permission) -> bool {
        self >= permission.least_role()
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
}
