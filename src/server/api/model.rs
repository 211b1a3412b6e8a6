//! The shapes of requests and responses of v1. The OpenAPI document is made from these types, so
//! that what is documented and what is sent cannot differ.

use std::borrow::Cow;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::output::Summary;
use crate::server::auth::Role;
use crate::server::config::keys_of_the_process;

/// Requirements for signing in.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct AuthStatus {
    /// `internal`: with a name and a password, at `/api/v1/auth/login`; `none`: not.
    pub(crate) auth: AuthKind,
    /// `true` if requests need the token of the configuration (`api_token`) as bearer token.
    pub(crate) api_token: bool,
}

/// Way in which users sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AuthKind {
    /// Without signing in.
    None,
    /// Users of the daemon, with name and password.
    Internal,
}

/// Name and password of a user who signs in.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginRequest {
    /// Name of the user.
    pub(crate) username: String,
    /// Password of the user.
    pub(crate) password: String,
}

/// A token.
#[derive(Serialize, JsonSchema)]
pub(crate) struct LoginReply {
    /// Goes into `Authorization: Bearer ...`.
    pub(crate) token: String,
    /// Seconds since 1970 UTC.
    pub(crate) expires_at: i64,
    /// Scheme with which the token is sent.
    pub(crate) token_type: TokenType,
}

/// Scheme with which a token is sent.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub(crate) enum TokenType {
    /// `Authorization: Bearer ...`.
    Bearer,
}

/// User or token behind the request.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Me {
    /// Name of the user; `anonymous` or `api_token` if no user signed in.
    pub(crate) username: String,
    /// Role of the user.
    pub(crate) role: RoleName,
    /// Seconds since 1970 UTC at which the token expires, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<i64>,
    /// Version of the daemon.
    pub(crate) version: &'static str,
}

/// Rights of a user.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RoleName {
    /// Read figures.
    Viewer,
    /// Control engines, too.
    Operator,
    /// Manage users, too.
    Admin,
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Operator => Self::Operator,
            Role::Admin => Self::Admin,
        }
    }
}

/// A ticket for the live WebSocket.
#[derive(Serialize, JsonSchema)]
pub(crate) struct TicketReply {
    /// Goes into `/api/v1/live?ticket=...`, once.
    pub(crate) ticket: String,
    /// Seconds in which it can be used.
    pub(crate) expires_in: u64,
}

/// A probe that was successful.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Health {
    /// `ok`.
    pub(crate) status: Ok,
}

/// The word `ok`.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ok {
    /// No problem.
    Ok,
}

/// `true` or `false`, and never the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Always<const VALUE: bool>;

impl<const VALUE: bool> Serialize for Always<VALUE> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(VALUE)
    }
}

impl<const VALUE: bool> JsonSchema for Always<VALUE> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Always".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "boolean", "const": VALUE })
    }
}

/// The figures of an engine, as in `summary.json`.
#[derive(Clone, Debug)]
pub(crate) struct Figures(pub(crate) Arc<Summary>);

impl Serialize for Figures {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl JsonSchema for Figures {
    fn schema_name() -> Cow<'static, str> {
        "Summary".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        // One document describes the summary, wherever it is found.
        let text = include_str!("../../../docs/summary.schema.json");
        let mut schema: Value = serde_json::from_str(text).unwrap_or_default();
        let Some(top) = schema.as_object_mut() else { return Schema::default() };
        top.remove("$schema");
        top.remove("$id");
        if let Some(Value::Object(parts)) = top.remove("$defs") {
            for (name, mut part) in parts {
                rename_references(&mut part);
                generator.definitions_mut().insert(format!("Summary_{name}"), part);
            }
        }
        rename_references(&mut schema);
        schema.try_into().unwrap_or_default()
    }
}

/// References within the summary's document become references to components.
fn rename_references(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if key == "$ref" => {
                        if let Some(name) = text.strip_prefix("#/$defs/") {
                            *text = format!("#/components/schemas/Summary_{name}");
                        }
                    }
                    _ => rename_references(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(rename_references),
        _ => {}
    }
}

/// Figures of one engine, or of several.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Stats {
    /// There is one engine.
    One {
        /// `false`.
        multi: Always<false>,
        /// Figures of the engine.
        stats: Figures,
        /// State of the engine.
        state: State,
        /// Ids of dynamic clients.
        dynamic_client_ids: Vec<String>,
    },
    /// There are several, the primary first.
    Many {
        /// `true`.
        multi: Always<true>,
        /// All of them.
        engines: Vec<EngineStats>,
        /// Ids of dynamic clients.
        dynamic_client_ids: Vec<String>,
    },
}

/// Figures of an engine.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct EngineStats {
    /// Id of the engine.
    pub(crate) id: String,
    /// Figures of the engine.
    pub(crate) stats: Figures,
    /// State of the engine.
    pub(crate) state: State,
}

/// State of an engine.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct State {
    /// Phase of its life.
    pub(crate) phase: PhaseName,
    /// Reason of its failure, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// Exit code that a run of its own would have had, once it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exit_code: Option<u8>,
    /// Id of the run.
    pub(crate) run_id: String,
    /// Scenario that new calls follow.
    pub(crate) scenario_name: String,
    /// Notices for the operator.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) notices: Vec<String>,
    /// The last complete second, if the generator was the limit in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limited: Option<LimitedSecond>,
}

/// A second in which the generator was the limit.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct LimitedSecond {
    /// Number of the second, counted as `worst_second` of the summary is.
    pub(crate) second: u64,
    /// Causes, as in `generator.causes` of the summary.
    pub(crate) causes: Vec<&'static str>,
}

/// Phase of the life of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PhaseName {
    /// Binds its sockets.
    Starting,
    /// Starts or answers calls.
    Running,
    /// Starts or answers no new calls.
    Paused,
    /// Waits for the end of its last calls.
    Draining,
    /// Came to its end.
    Finished,
    /// Could not start, or could not go on.
    Failed,
}

/// Rate and pause of one engine, or of several.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Control {
    /// There is one engine.
    One {
        /// Calls per second that it is asked to start; 0 if it starts none by rate.
        rate: f64,
        /// `true` if it starts no new calls.
        paused: bool,
    },
    /// There are several, the primary first.
    Many {
        /// `true`.
        multi: Always<true>,
        /// All of them.
        engines: Vec<EngineControl>,
    },
}

/// Rate and pause of an engine.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct EngineControl {
    /// Id of the engine.
    pub(crate) id: String,
    /// Calls per second that it is asked to start; 0 if it starts none by rate.
    pub(crate) rate: f64,
    /// `true` if it starts no new calls.
    pub(crate) paused: bool,
}

/// A change of rate or pause, of one engine or of all.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ControlRequest {
    /// The engine; all of them without it. `primary` is the first.
    pub(crate) engine_id: Option<String>,
    /// The same as `engine_id`.
    pub(crate) id: Option<String>,
    /// Calls per second.
    #[schemars(range(min = 0.0, max = 1e9))]
    pub(crate) rate: Option<f64>,
    /// `true` starts no new calls. `false` also starts an engine of the configuration again that
    /// has ended, if it is named.
    pub(crate) paused: Option<bool>,
    /// `true` is the same as `"paused": true`.
    pub(crate) pause: Option<bool>,
    /// `true` is the same as `"paused": false`.
    pub(crate) resume: Option<bool>,
}

/// The scenario of the primary engine.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Scenario {
    /// The file that it was read from; empty for a built-in one.
    pub(crate) scenario_file: String,
    /// Name for `-sn` of a built-in scenario, else the name in the scenario itself.
    pub(crate) scenario_name: String,
    /// Text of the scenario; empty for a built-in one, which `gossipper -sd NAME` prints.
    pub(crate) xml: String,
    /// `true` if the scenario is part of the program.
    pub(crate) builtin: bool,
}

/// A scenario was written.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Written {
    /// The file.
    pub(crate) written: String,
    /// `true` if new calls follow it.
    pub(crate) applied: bool,
}

/// A scenario is in use.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Applied {
    /// `true`.
    pub(crate) applied: Always<true>,
}

/// Listeners and clients.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Transports {
    /// Addresses at which the primary engine answers calls.
    pub(crate) listeners: Vec<Listener>,
    /// The engines that place calls.
    pub(crate) clients: Vec<ClientRow>,
    /// Rights of the API over dynamic clients.
    pub(crate) dynamic_client_api: DynamicApi,
}

/// An address at which an engine answers calls.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Listener {
    /// Place in the list.
    pub(crate) index: usize,
    /// Transport in the form of `-t`, such as `u1`.
    pub(crate) transport: String,
    /// The address.
    pub(crate) local_ip: String,
    /// The port.
    pub(crate) local_port: u16,
    /// `true` if it takes new calls; else they are answered with 503.
    pub(crate) enabled: bool,
    /// Scenario that its calls follow.
    pub(crate) scenario_name: String,
}

/// An engine that places calls.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct ClientRow {
    /// Id of the engine.
    pub(crate) id: String,
    /// Transport in the form of `-t`, such as `u1`.
    pub(crate) transport: String,
    /// The address that calls come from.
    pub(crate) local_ip: String,
    /// The port that calls come from.
    pub(crate) local_port: u16,
    /// Destination of the calls.
    pub(crate) remote_addr: String,
    /// The engine of this daemon that answers there, if there is one: it counts the same calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) calls_engine: Option<String>,
    /// `true` if it starts calls.
    pub(crate) accepting: bool,
    /// `true` if it was started over the API.
    pub(crate) dynamic: bool,
    /// Phase of its life.
    pub(crate) phase: PhaseName,
}

/// Rights of the API over dynamic clients.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub(crate) struct DynamicApi {
    /// Start them.
    pub(crate) can_post: bool,
    /// Stop them.
    pub(crate) can_delete: bool,
}

/// Listeners and clients to turn on or off.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TransportsRequest {
    /// Listeners of the primary engine.
    pub(crate) listeners: Vec<ListenerSwitch>,
    /// Engines that place calls.
    pub(crate) clients: Vec<ClientSwitch>,
    /// One listener, together with `enabled`.
    pub(crate) index: Option<usize>,
    /// `true` if the listener at `index` is to take new calls.
    pub(crate) enabled: Option<bool>,
}

/// A listener to turn on or off.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListenerSwitch {
    /// Place in the list.
    pub(crate) index: usize,
    /// `true` if it is to take new calls.
    pub(crate) enabled: bool,
}

/// A client to turn on or off.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientSwitch {
    /// Id of the engine.
    pub(crate) id: String,
    /// `true` if it is to start calls.
    pub(crate) accepting: bool,
}

/// The engines that place calls.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Clients {
    /// All of them.
    pub(crate) engines: Vec<ClientRow>,
    /// Ids of those that were started over the API.
    pub(crate) dynamic: Vec<String>,
    /// Rights of the API over dynamic clients.
    pub(crate) dynamic_client_api: DynamicApi,
}

/// A request for a dynamic client: keys of a load profile.
pub(crate) struct Snippet;

impl JsonSchema for Snippet {
    fn schema_name() -> Cow<'static, str> {
        "Snippet".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": format!(
                "Keys of a load profile, as in docs/config.schema.json, without those of the \
                 process: {}.",
                keys_of_the_process().join(", ")
            ),
            "type": "object",
            "properties": {
                "id": { "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$" },
                "remote_addr": { "type": "string" },
                "rate": { "type": "number", "minimum": 0 },
                "scenario_name": { "type": "string" },
                "transport": { "type": "string" }
            }
        })
    }
}

/// A dynamic client runs.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Started {
    /// Id of the client.
    pub(crate) id: String,
    /// `true`.
    pub(crate) started: Always<true>,
}

/// One frame of the live WebSocket.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Frame {
    /// Milliseconds since 1970 UTC.
    pub(crate) ts: u64,
    /// Figures, as in `/api/v1/stats`.
    pub(crate) stats: Stats,
    /// Rate and pause, as in `/api/v1/control`.
    pub(crate) control: Control,
    /// Listeners and clients, as in `/api/v1/transports`.
    pub(crate) transports: Transports,
}
