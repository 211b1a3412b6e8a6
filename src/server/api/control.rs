//! `/control`: rate and pause.

use std::sync::Arc;

use http::StatusCode;
use serde_json::json as value;

use super::app::App;
use super::body;
use super::call::{Answer, Call, Deed, blocking, json};
use super::error::ApiError;
use super::model::{Always, Control, ControlRequest, EngineControl};
use crate::config::RATE_MAX;
use crate::control::{Phase, Rate, Refusal, Request};
use crate::server::engines::EngineHandle;

pub(crate) async fn get(call: Call) -> Answer {
    json(StatusCode::OK, &control(&call.app))
}

/// Rate and pause of all engines.
pub(crate) fn control(app: &App) -> Control {
    let engines = app.registry.engines();
    match engines.as_slice() {
        [only] => {
            let state = only.state();
            Control::One { rate: state.rate, paused: state.is_paused }
        }
        engines => {
            let row = |engine: &EngineHandle| {
                let state = engine.state();
                let id = engine.id().to_owned();
                EngineControl { id, rate: state.rate, paused: state.is_paused }
            };
            Control::Many { multi: Always, engines: engines.iter().map(row).collect() }
        }
    }
}

pub(crate) async fn post(call: Call) -> Answer {
    let request: ControlRequest = body::json(&call.body.bytes)?;
    let asks = asks_of(&request)?;
    let id = match (&request.engine_id, &request.id) {
        (Some(one), Some(other)) if one != other => {
            return Err(ApiError::bad_request("engine_id and id name different engines"));
        }
        (one, other) => one.as_ref().or(other.as_ref()).filter(|id| !id.is_empty()),
    };
    let engines = call.app.registry.engines();
    let is_over = |engine: &EngineHandle| engine.state().phase.is_over();
    let id = match engines.as_slice() {
        // No other engine could be meant.
        [only] if id.is_none() && is_over(only) => Some(only.id().to_owned()),
        _ => id.cloned(),
    };
    let is_restraint = asks.iter().all(is_restraint);
    let (asked, target) = match &id {
        Some(id) => {
            let engine = call.app.registry.get(id).ok_or_else(|| unknown_engine(&call.app, id))?;
            (vec![(engine, asks.clone())], id.as_str())
        }
        None => (all_asked(&call.app, &asks)?, "all"),
    };
    let payload = described(&asks, &asked);
    let mut deed = match is_restraint {
        true => call.begin_restraint("control.set", target, payload).await?,
        false => call.begin("control.set", target, payload).await?,
    };
    let done = match id.is_some() {
        true => change_one(&call.app, asked).await,
        false => match ask_all(asked).await {
            Ok(results) => sum_up(results, false, &mut deed),
            Err(error) => Err(error),
        },
    };
    deed.end(done).await?;
    json(StatusCode::OK, &control(&call.app))
}

/// Changes one engine that was named. An engine of the configuration that has ended is started
/// again if it is to go on.
async fn change_one(app: &Arc<App>, asked: Vec<Asked>) -> Result<(), ApiError> {
    let app = Arc::clone(app);
    let ask = move |(engine, asks): Asked| -> Result<(), Refusal> {
        let goes_on = asks.contains(&Request::SetPaused(false));
        if !engine.state().phase.is_over() || !goes_on {
            return asks.into_iter().try_for_each(|ask| engine.ask(ask));
        }
        app.start_again(&engine, None)?;
        let rate = asks.into_iter().find(|ask| matches!(ask, Request::SetRate(_)));
        match (rate, app.registry.get(engine.id())) {
            (Some(rate), Some(engine)) => engine.ask(rate),
            _ => Ok(()),
        }
    };
    Ok(blocking(move || asked.into_iter().try_for_each(ask)).await??)
}

/// 404, with the ids of the engines.
pub(crate) fn unknown_engine(app: &App, id: &str) -> ApiError {
    let engines = app.registry.engines();
    let ids: Vec<&str> = engines.iter().map(|engine| engine.id()).collect();
    let id: String = id.chars().take(80).collect();
    ApiError::not_found(format!("there is no engine {id:?}; there are: {}", ids.join(", ")))
}

/// The requests that a body stands for: a rate, a pause, or both.
fn asks_of(request: &ControlRequest) -> Result<Vec<Request>, ApiError> {
    let rate = request.rate.map(|calls| Request::SetRate(Rate::per_second(calls)));
    if rate.as_ref().is_some_and(|rate| rate.check().is_err()) {
        return Err(ApiError::bad_request(format!("rate: calls per second, from 0 to {RATE_MAX}")));
    }
    let mut paused = request.paused;
    for (name, given) in [("pause", request.pause), ("resume", request.resume)] {
        let meant = match (name, given) {
            (_, None | Some(false)) => continue,
            (name, Some(true)) => name == "pause",
        };
        if paused.is_some_and(|paused| paused != meant) {
            return Err(ApiError::bad_request(format!(
                "{name} contradicts another key; give one of paused, pause and resume"
            )));
        }
        paused = Some(meant);
    }
    let asks: Vec<Request> = rate.into_iter().chain(paused.map(Request::SetPaused)).collect();
    if asks.is_empty() {
        return Err(ApiError::bad_request(
            "the request changes nothing: give rate, paused, pause or resume",
        ));
    }
    Ok(asks)
}

/// Tells whether there are no more calls for it.
pub(crate) fn is_restraint(ask: &Request) -> bool {
    match ask {
        Request::SetRate(rate) => rate.calls == 0.0,
        Request::SetPaused(is_paused) => *is_paused,
        Request::SetListener { enabled, .. } => !enabled,
        _ => false,
    }
}

/// The changes, from what to what, for the audit log.
fn described(asks: &[Request], asked: &[Asked]) -> serde_json::Value {
    let (mut rates, mut pauses) = (serde_json::Map::new(), serde_json::Map::new());
    for (engine, asks) in asked {
        let (id, state) = (engine.id().to_owned(), engine.state());
        for ask in asks {
            match ask {
                Request::SetRate(_) => _ = rates.insert(id.clone(), value!(state.rate)),
                _ => _ = pauses.insert(id.clone(), value!(state.is_paused)),
            }
        }
    }
    let mut change = value!({});
    for ask in asks {
        match ask {
            Request::SetRate(rate) => {
                change["rate"] = value!({ "from": rates, "to": rate.calls });
            }
            Request::SetPaused(paused) => {
                change["paused"] = value!({ "from": pauses, "to": paused });
            }
            _ => {}
        }
    }
    change
}

/// The part of `asks` that `engine` can do where all engines are meant: a rate is for those that
/// have one.
fn asks_for(engine: &EngineHandle, asks: &[Request]) -> Vec<Request> {
    let state = engine.state();
    let has_rate = state.is_client && state.users.is_none();
    let is_for = |ask: &&Request| has_rate || !matches!(ask, Request::SetRate(_));
    asks.iter().filter(is_for).cloned().collect()
}

/// An engine and the requests to it.
type Asked = (EngineHandle, Vec<Request>);

/// All engines that are not over, with the requests to each.
fn all_asked(app: &App, asks: &[Request]) -> Result<Vec<Asked>, ApiError> {
    let engines = app.registry.engines();
    let asked = engines.iter().map(|engine| (engine.clone(), asks_for(engine, asks)));
    let asked: Vec<Asked> = asked
        .filter(|(engine, asks)| !asks.is_empty() && !engine.state().phase.is_over())
        .collect();
    if asked.is_empty() && engines.iter().all(|row| row.state().phase.is_over()) {
        return Err(ApiError::conflict(
            "all engines have ended; resume with engine_id starts one of the configuration again",
        ));
    }
    match asked.is_empty() {
        false => Ok(asked),
        true => Err(without_rate(engines.iter().map(|engine| engine.state().phase.clone()))),
    }
}

/// The reason why there is no engine for a rate. An engine that is starting may be one soon.
fn without_rate(mut phases: impl Iterator<Item = Phase>) -> ApiError {
    match phases.any(|phase| phase == Phase::Starting) {
        true => ApiError::unavailable("an engine here is still starting; try again"),
        false => ApiError::conflict(
            "no engine here starts calls at a rate; start a client with POST /api/v1/clients",
        ),
    }
}

/// The outcome of each part of a change, by the name of the engine or of the part.
pub(crate) type Results = Vec<(String, Result<(), Refusal>)>;

/// Asks all at once, so that a slow one does not delay the others.
async fn ask_all(asked: Vec<Asked>) -> Result<Results, ApiError> {
    let asked = asked.into_iter().map(|(engine, asks)| {
        let id = engine.id().to_owned();
        let ask = move || asks.into_iter().try_for_each(|ask| engine.ask(ask));
        (id, tokio::spawn(blocking(ask)))
    });
    let asked: Vec<_> = asked.collect();
    let mut results = Vec::new();
    for (id, work) in asked {
        let result = work.await.map_err(|_| ApiError::internal("an engine's answer was lost"))?;
        results.push((id, result?));
    }
    Ok(results)
}

/// Names of parts in one message.
const NAMES_MAX: usize = 16;

/// Makes one outcome of those of all parts. If they differ, the audit log gets each. Successful
/// parts are not undone: a pause that all but one have taken is better than none. If all engines
/// were meant and none `is_named`, an engine that is over is no failure, nor is one without a rate.
pub(crate) fn sum_up(results: Results, is_named: bool, deed: &mut Deed) -> Result<(), ApiError> {
    let (taken, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(|row| row.1.is_ok());
    let taken: Vec<String> = taken.into_iter().map(|(name, _)| name).collect();
    let refused = refused.into_iter().filter_map(|(name, done)| Some((name, done.err()?)));
    let refused: Vec<(String, Refusal)> = refused.collect();
    if !taken.is_empty() && !refused.is_empty() {
        let reasons = refused.iter().map(|(name, error)| (name.clone(), value!(error.to_string())));
        let reasons: serde_json::Map<_, _> = reasons.collect();
        deed.note_parts(&taken, reasons);
    }
    let is_failure = |error: &Refusal| {
        is_named || taken.is_empty() || !matches!(error, Refusal::Refused(_) | Refusal::Over)
    };
    let at = refused.iter().position(|(_, error)| is_failure(error));
    let Some((name, error)) = at.and_then(|at| refused.into_iter().nth(at)) else {
        return Ok(());
    };
    let error = ApiError::from(error);
    if taken.is_empty() {
        return Err(error);
    }
    let more = match taken.len().saturating_sub(NAMES_MAX) {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    let taken = taken[..taken.len().min(NAMES_MAX)].join(", ");
    let why = error.message();
    Err(ApiError::new(
        error.status(),
        format!("{name}: {why}; the change was made for: {taken}{more}"),
    ))
}

impl From<Refusal> for ApiError {
    fn from(error: Refusal) -> Self {
        let text = error.to_string();
        match error {
            Refusal::Invalid(_) => Self::bad_request(text),
            Refusal::Refused(_) | Refusal::Over => Self::conflict(text),
            Refusal::Forbidden(_) => Self::forbidden(text),
            Refusal::Unknown(_) => Self::not_found(text),
            Refusal::Busy | Refusal::Timeout => Self::unavailable(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(text: &str) -> Result<Vec<Request>, String> {
        let request = body::json(text.as_bytes()).map_err(|error| error.message().to_owned())?;
        asks_of(&request).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn all_ways_to_pause_mean_the_same() {
        for (text, paused) in [
            (r#"{"paused":true}"#, true),
            (r#"{"pause":true}"#, true),
            (r#"{"resume":true}"#, false),
            (r#"{"paused":false,"pause":false}"#, false),
            (r#"{"paused":true,"pause":true}"#, true),
        ] {
            assert_eq!(asks(text), Ok(vec![Request::SetPaused(paused)]), "{text}");
        }
    }

    #[test]
    fn an_engine_that_is_starting_is_no_engine_without_a_rate() {
        let status = |phases: &[Phase]| without_rate(phases.iter().cloned()).status();
        let ended = Phase::Finished { code: 0 };
        assert_eq!(status(&[Phase::Running, ended.clone()]), StatusCode::CONFLICT);
        assert_eq!(status(&[ended, Phase::Starting]), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, part) in [
            ("{}", "the request changes nothing"),
            (r#"{"pause":false}"#, "the request changes nothing"),
            (r#"{"pause":true,"resume":true}"#, "contradicts"),
            (r#"{"paused":false,"pause":true}"#, "contradicts"),
            (r#"{"rate":-1}"#, "rate"),
            (r#"{"rate":1e10}"#, "rate"),
            (r#"{"rate":"5"}"#, "rate"),
            (r#"{"rat":5}"#, "`rat`"),
        ] {
            let error = asks(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
