//! Exports of a run to other programs: the outputs for call records, messages and events.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use super::RunError;
use super::plan::Plan;
use super::targets;
use super::traces::plain;
use crate::config::RunConfig;
use crate::scenario::Mode;
use crate::sinks::call_records::CallRecords;
#[cfg(feature = "otlp")]
use crate::sinks::events::otlp;
use crate::sinks::events::{EventExporter, EventLog, Intent};
use crate::sinks::hep::{Hep, HepIdentity, HepMedia, RtcpForm};
use crate::sinks::srtp_keys::SrtpKeys;
use crate::sinks::{FileId, FileSpec, Files, RecordSink};

/// Opens all outputs of the configuration.
pub(super) fn open(
    config: &RunConfig,
    plan: &Plan,
    files: &mut Files,
) -> Result<Vec<Box<dyn RecordSink>>, RunError> {
    let mut sinks: Vec<Box<dyn RecordSink>> = Vec::new();
    if let Some(path) = &config.export.call_records {
        let file = open_file(files, plain(path.clone()))?;
        sinks.push(Box::new(CallRecords::new(file)));
    }
    if let Some(path) = &config.export.srtp_keys {
        let file = config.access.open_private(path);
        let file = file.map_err(|source| RunError::TraceFile { path: path.clone(), source })?;
        let file = files.adopt(&path.display().to_string(), file);
        sinks.push(Box::new(SrtpKeys::new(file)));
    }
    if let Some(host) = &config.export.hep.collector {
        let collector = targets::resolve(host, None, config.reach.for_hep(), config, "hep_addr")?;
        let identity = HepIdentity {
            capture_id: config.export.hep.capture_id.unwrap_or(0),
            password: config.export.hep.password.clone(),
        };
        let hep = &config.export.hep;
        let rtcp = match (hep.json_rtcp, hep.raw_rtcp) {
            (true, _) => Some(RtcpForm::Json),
            (false, true) => Some(RtcpForm::Binary),
            (false, false) => None,
        };
        let media = HepMedia { rtcp, reports: hep.media_report };
        let hep = Hep::new(collector, identity, media);
        let hep = hep.map_err(|source| RunError::Hep { collector, source })?;
        sinks.push(Box::new(hep));
    }
    if config.export.events.is_on() {
        sinks.push(Box::new(event_log(config, plan, files)?));
    }
    Ok(sinks)
}

/// Opens a file of a run.
pub(super) fn open_file(files: &mut Files, spec: FileSpec) -> Result<FileId, RunError> {
    let path = spec.path.clone();
    files.open(spec).map_err(|source| RunError::TraceFile { path, source })
}

fn event_log(config: &RunConfig, plan: &Plan, files: &mut Files) -> Result<EventLog, RunError> {
    let events = &config.export.events;
    let calls = plan.launch.engine.calls_total.unwrap_or(0);
    let is_client = plan.launch.programs.main.mode == Mode::Client;
    let rate = match is_client && config.users.is_none() {
        true => config.rate * 1000.0 / config.rate_period_ms.max(1) as f64,
        false => 0.0,
    };
    let mut log = EventLog::new(events.level, Intent { calls, rate }, events.attributes.clone());
    if let Some(path) = &events.file {
        log.write_json(open_file(files, plain(path.clone()))?);
    }
    if events.stderr {
        let copy = io::stderr().as_fd().try_clone_to_owned().map_err(RunError::EventsToStderr)?;
        log.write_text(files.adopt("events to stderr", File::from(copy)));
    }
    if events.otlp.endpoint.is_some() {
        log.export(otlp(config, if is_client { "client" } else { "server" })?);
    }
    Ok(log)
}

/// The exporter for a collector that speaks OTLP.
#[cfg(feature = "otlp")]
fn otlp(config: &RunConfig, role: &str) -> Result<Box<dyn EventExporter>, RunError> {
    let events = &config.export.events;
    let mut attributes = vec![("gossipper.role".to_owned(), role.to_owned())];
    attributes.extend(events.attributes.iter().cloned());
    let buffer = usize::try_from(events.buffer).unwrap_or(usize::MAX);
    match otlp::Otlp::start(&targets::pinned(config)?, buffer, &attributes) {
        Ok(otlp) => Ok(Box::new(otlp)),
        Err(error) => Err(RunError::Otlp(error.to_string())),
    }
}

/// Refuses a collector, because this build does not support OTLP.
#[cfg(not(feature = "otlp"))]
fn otlp(_: &RunConfig, _: &str) -> Result<Box<dyn EventExporter>, RunError> {
    Err(RunError::Otlp("this program was built without OTLP (feature `otlp`)".to_owned()))
}
