//! `/scenario`: the scenario of the primary engine, its file, and the one that new calls follow.

use http::StatusCode;
use serde_json::json as value;

use super::call::{Answer, Call, blocking, json};
use super::clients::scenario_of;
use super::error::ApiError;
use super::model::{Always, Applied, Scenario, Written};
use crate::control::{DOCUMENT, NewScenario};
use crate::output::write_file;
use crate::sent_files::{self, fingerprint};

pub(crate) async fn get(call: Call) -> Answer {
    let state = call.app.primary()?.state();
    let scenario = &state.scenario;
    let file = scenario.file.as_ref().map(|file| file.display().to_string());
    let reply = Scenario {
        scenario_file: file.unwrap_or_default(),
        scenario_name: scenario.name.clone(),
        xml: if scenario.builtin { String::new() } else { scenario.xml.to_string() },
        builtin: scenario.builtin,
    };
    json(StatusCode::OK, &reply)
}

pub(crate) async fn put(call: Call) -> Answer {
    let apply = call.parameters.switch("apply")?;
    let xml = text_of(&call)?;
    let _one_at_a_time = call.app.scenario_lock.lock().await;
    let primary = call.app.primary()?;
    let Some(file) = primary.state().scenario.file.clone() else {
        return Err(ApiError::bad_request(
            "the scenario is a built-in one and has no file; set scenario_file, or use \
             POST /api/v1/scenario/apply",
        ));
    };
    let target = file.clone();
    let app = call.app.clone();
    let payload = value!({
        "applied": apply,
        "from": scenario_of(&primary),
        "to": { "sha256": fingerprint(xml.as_bytes()) },
    });
    let written = file.display().to_string();
    let deed = call.begin("scenario.write", &written, payload).await?;
    let done = blocking(move || -> Result<(), ApiError> {
        // A scenario that may not be applied may not be written either: the next reload would read
        // it.
        primary.check_scenario(&xml)?;
        // Before it is written: the reader of the file must know that a client sent it.
        sent_files::note(&target, xml.as_bytes()).map_err(|error| {
            ApiError::internal(format!("the scenario was neither used nor written: {error}"))
        })?;
        if apply {
            app.follow(&primary, NewScenario::Sent(xml.clone()))?;
        }
        write_file(&target, |out| out.write_all(xml.as_bytes())).map_err(|error| {
            let error = error.to_string();
            ApiError::internal(match apply {
                true => {
                    format!("new calls follow the scenario, but its file is the old one: {error}")
                }
                false => error,
            })
        })
    })
    .await;
    let done = done.and_then(|done| done.map_err(|error| error.without_path(&file, DOCUMENT)));
    deed.end(done).await?;
    json(StatusCode::OK, &Written { written, applied: apply })
}

pub(crate) async fn apply(call: Call) -> Answer {
    let (scenario, source) = match call.body.bytes.is_empty() {
        true => (NewScenario::Reload, "file"),
        false => (NewScenario::Sent(text_of(&call)?), "request"),
    };
    let _one_at_a_time = call.app.scenario_lock.lock().await;
    let primary = call.app.primary()?;
    let file = primary.state().scenario.file.clone();
    let payload = value!({ "from": scenario_of(&primary) });
    let mut deed = call.begin("scenario.apply", source, payload).await?;
    let (app, engine) = (call.app.clone(), primary.clone());
    let done = blocking(move || app.follow(&engine, scenario)).await;
    let done = done.and_then(|done| {
        done.map_err(|error| match (ApiError::from(error), &file) {
            (error, Some(file)) => error.without_path(file, DOCUMENT),
            (error, None) => error,
        })
    });
    // An engine that had ended has been replaced by a new one.
    if let (Ok(()), Ok(primary)) = (&done, call.app.primary()) {
        deed.add("to", scenario_of(&primary));
    }
    deed.end(done).await?;
    json(StatusCode::OK, &Applied { applied: Always })
}

fn text_of(call: &Call) -> Result<String, ApiError> {
    if call.body.bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ApiError::bad_request("the body is empty; send a scenario"));
    }
    String::from_utf8(call.body.bytes.to_vec()).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        ApiError::bad_request(format!("the scenario is not UTF-8 after byte {at}"))
    })
}
