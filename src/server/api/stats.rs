//! `/stats`: the figures of all engines.

use std::sync::Arc;

use http::StatusCode;

use super::app::App;
use super::call::{Answer, Call, json};
use super::model::{Always, EngineStats, Figures, LimitedSecond, PhaseName, State, Stats};
use crate::control::{Phase, Published};
use crate::server::engines::{EngineHandle, EngineKind};

pub(crate) async fn get(call: Call) -> Answer {
    json(StatusCode::OK, &stats(&call.app))
}

/// The figures of all engines.
pub(crate) fn stats(app: &App) -> Stats {
    let engines = app.registry.engines();
    let dynamic_client_ids = dynamic_ids(&engines);
    match engines.as_slice() {
        [only] => {
            let state = only.state();
            Stats::One {
                multi: Always,
                stats: Figures(state.summary()),
                state: state_of(&state),
                dynamic_client_ids,
            }
        }
        engines => Stats::Many {
            multi: Always,
            engines: engines.iter().map(row).collect(),
            dynamic_client_ids,
        },
    }
}

/// Ids of the engines that were started over the API.
pub(crate) fn dynamic_ids(engines: &[EngineHandle]) -> Vec<String> {
    let is_dynamic = |engine: &&EngineHandle| engine.kind() == EngineKind::Dynamic;
    engines.iter().filter(is_dynamic).map(|engine| engine.id().to_owned()).collect()
}

fn row(engine: &EngineHandle) -> EngineStats {
    let state = engine.state();
    EngineStats {
        id: engine.id().to_owned(),
        stats: Figures(state.summary()),
        state: state_of(&state),
    }
}

fn state_of(state: &Arc<Published>) -> State {
    let (reason, exit_code) = match &state.phase {
        // One line, without the form of a terminal.
        Phase::Failed { reason } => (Some(reason.replace("\n  hint: ", "; ")), None),
        Phase::Finished { code } => (None, Some(*code)),
        _ => (None, None),
    };
    State {
        phase: phase_of(&state.phase),
        reason,
        exit_code,
        run_id: state.run_id.clone(),
        scenario_name: state.scenario.name.clone(),
        notices: state.notices.clone(),
        limited: limited(state),
    }
}

/// The last complete second, if the generator was the limit in it and it is not long past.
fn limited(state: &Published) -> Option<LimitedSecond> {
    let is_going_on = !state.phase.is_over();
    let row = state.snapshot.last_second.filter(|row| is_going_on && row.limited_seconds > 0)?;
    let causes = row.limit_causes.iter().map(|cause| cause.label()).collect();
    Some(LimitedSecond { second: row.second, causes })
}

/// The name of a phase.
pub(crate) fn phase_of(phase: &Phase) -> PhaseName {
    match phase {
        Phase::Starting => PhaseName::Starting,
        Phase::Running => PhaseName::Running,
        Phase::Paused => PhaseName::Paused,
        Phase::Draining => PhaseName::Draining,
        Phase::Finished { .. } => PhaseName::Finished,
        Phase::Failed { .. } => PhaseName::Failed,
    }
}
