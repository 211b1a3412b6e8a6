//! The OpenAPI document of v1, made from the table of routes and the types of the model.

use std::sync::OnceLock;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::error::ErrorBody;
use super::model;
use super::routes::{Accepts, Access, Carries, ROUTES, Route, Verb};
use crate::server::auth::Permission;

/// The path in the document under which schemas of types stand.
const SCHEMAS: &str = "/components/schemas";

/// The document as JSON text, made once.
pub(crate) fn text() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| format!("{:#}\n", document()))
}

/// The document.
pub fn document() -> Value {
    let mut generator = generator(false);
    let mut requests = self::generator(true);
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        let verb = match route.verb {
            Verb::Get => "get",
            Verb::Post => "post",
            Verb::Put => "put",
            Verb::Delete => "delete",
        };
        path[verb] = operation(route, &mut generator, &mut requests);
    }
    // Frames travel over the WebSocket only, and no operation refers to them.
    generator.subschema_for::<model::Frame>();
    generator.subschema_for::<ErrorBody>();
    let mut schemas = generator.take_definitions(true);
    schemas.extend(requests.take_definitions(true));
    schemas.sort_keys();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Gossipper",
            "version": "1",
            "description": "Control of a running gossipper: figures, rate, scenario, listeners, \
                            clients. A refusal is {\"error\": \"...\"}, and its status gives the \
                            kind. Bodies of requests are checked: an unknown key is an error.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" }
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The token of /api/v1/auth/login, or api_token of the \
                        configuration."
                }
            }
        }
    })
}

fn generator(is_request: bool) -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = SCHEMAS.into();
        settings.meta_schema = None;
    });
    match is_request {
        true => settings.for_deserialize().into_generator(),
        false => settings.for_serialize().into_generator(),
    }
}

fn operation(
    route: &Route,
    generator: &mut SchemaGenerator,
    requests: &mut SchemaGenerator,
) -> Value {
    let mut operation = json!({
        "operationId": route.name,
        "summary": route.summary,
        "description": who(route.access),
        "responses": responses(route, generator),
    });
    // Without signing in, tokens are of no use; elsewhere it depends on the configuration.
    operation["security"] = match route.access {
        Access::Anybody => json!([]),
        Access::ThisHost | Access::Needs(_) => json!([{ "bearer": [] }, {}]),
    };
    if !route.parameters.is_empty() {
        let parameters = route.parameters.iter().map(|parameter| {
            json!({
                "name": parameter.name,
                "in": "query",
                "description": parameter.what,
                "required": parameter.is_required,
                "schema": (parameter.schema)(),
            })
        });
        operation["parameters"] = parameters.collect();
    }
    match route.accepts {
        Accepts::Nothing => {}
        Accepts::Json { schema, .. } => {
            operation["requestBody"] = json!({
                "required": true,
                "content": { "application/json": { "schema": schema(requests) } },
            });
        }
        Accepts::Xml { may_be_empty, .. } => {
            operation["requestBody"] = json!({
                "required": !may_be_empty,
                "content": { "application/xml": { "schema": { "type": "string" } } },
            });
        }
    }
    operation
}

fn who(access: Access) -> &'static str {
    match access {
        Access::Anybody => "For everyone, without signing in.",
        Access::ThisHost => "For everyone on this host, and for viewers.",
        Access::Needs(Permission::View) => "For viewers.",
        Access::Needs(Permission::Operate) => "For operators.",
        Access::Needs(Permission::Administer) => "For administrators.",
    }
}

fn responses(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let (status, what, carries) = route.success;
    let mut success = json!({ "description": what });
    match carries {
        Carries::Nothing => {}
        Carries::Json(schema) => {
            success["content"] = json!({ "application/json": { "schema": schema(generator) } });
        }
        Carries::Text("application/json") => {
            success["content"] = json!({ "application/json": { "schema": { "type": "object" } } });
        }
        Carries::Text(media_type) => {
            success["content"] = json!({ media_type: { "schema": { "type": "string" } } });
        }
    }
    let mut responses = Map::new();
    responses.insert(status.to_string(), success);
    for status in refusals(route) {
        let reference = json!({ "$ref": format!("#{SCHEMAS}/Error") });
        let refusal = json!({
            "description": meaning(status),
            "content": { "application/json": { "schema": reference } },
        });
        responses.insert(status.to_string(), refusal);
    }
    responses.sort_keys();
    Value::Object(responses)
}

/// The statuses with which a route refuses.
fn refusals(route: &Route) -> Vec<u16> {
    let mut statuses = vec![400, 421, 500, 503];
    if route.access != Access::Anybody {
        statuses.extend([401, 403]);
    }
    if !route.verb.is_safe() {
        statuses.push(403);
    }
    statuses.extend([408, 413]);
    if !matches!(route.accepts, Accepts::Nothing) {
        statuses.push(415);
    }
    statuses.extend(route.refusals);
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => "The request cannot be understood, or asks for something impossible.",
        401 => "Sign in first.",
        403 => "Not allowed.",
        404 => "The object does not exist.",
        408 => "The request was not complete in time.",
        409 => "Not possible in the current state.",
        413 => "The body is too large.",
        415 => "The type of the body is not supported.",
        421 => "The daemon does not answer to this name.",
        426 => "This route is a WebSocket.",
        429 => "Too many attempts; Retry-After says when to try again.",
        500 => "The daemon had an internal error.",
        503 => "Not possible now.",
        _ => "Refused.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_to_a_schema() {
        fn walk(value: &Value, document: &Value, found: &mut usize) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(reference)) = map.get("$ref") {
                        *found += 1;
                        let pointer = reference.strip_prefix('#').unwrap();
                        assert!(document.pointer(pointer).is_some(), "{reference}");
                    }
                    map.values().for_each(|value| walk(value, document, found));
                }
                Value::Array(values) => {
                    values.iter().for_each(|value| walk(value, document, found));
                }
                _ => {}
            }
        }
        let document = document();
        let mut found = 0;
        walk(&document, &document, &mut found);
        assert!(found > 100, "only {found} references");
    }

    #[test]
    fn every_row_of_the_table_is_in_the_document() {
        let document = document();
        let operations: usize = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .map(|path| path.as_object().unwrap().len())
            .sum();
        assert_eq!(operations, ROUTES.len());
    }
}
