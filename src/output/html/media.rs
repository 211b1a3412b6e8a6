//! Media on the page: what was heard, how well, how precisely it was sent, and the worst calls.

use super::super::summary::{BadCall, Durations, Mos, Point, Streams, Summary};
use super::super::units;
use super::calls::{amount, counts, limited, per_second, spans, time};
use super::charts::{Bar, Curve, TimeChart, bars};
use super::markup::Markup;

/// Words and classes of the verdicts about calls, the best first.
const HEARD: [(&str, &str, &str); 5] = [
    ("two_way", "both ways", "good"),
    ("one_way", "one way", "warn"),
    ("none", "silent", "bad"),
    ("unknown", "unknown", "soft"),
    ("no_media", "without RTP", "soft"),
];

/// Classes of the bands of satisfaction, the best first.
const BAND_CLASSES: [&str; 6] = ["good", "good", "warn", "warn", "bad", "bad"];

/// The media of the run.
pub(super) fn section(out: &mut Markup, summary: &Summary, streams: &Streams) {
    out.raw("<section>").element("h2", "Media");
    let heard = HEARD.iter().filter_map(|&(key, label, class)| {
        let count = streams.heard.get(key).copied().unwrap_or(0);
        // The verdicts that say something about a call are shown even if there is none.
        let is_shown = count > 0 || class != "soft";
        is_shown.then(|| Bar { label: label.to_owned(), count, class })
    });
    bars(out, "Ended calls by who heard whom", &heard.collect::<Vec<_>>());
    if let Some(mos) = &streams.mos_estimated {
        opinions(out, mos);
    }
    charts(out, summary);
    facts(out, summary, streams);
    let causes = [
        ("Media for no stream", &streams.strays),
        ("Malformed media received", &streams.malformed),
        ("RTP sent late", &streams.delayed),
        ("RTP not sent", &streams.unsent),
    ];
    for (title, causes) in causes {
        if !causes.is_empty() {
            out.element("h3", title);
            counts(out, causes.iter());
        }
    }
    out.raw("</section>");
}

/// The distribution of the estimated MOS.
fn opinions(out: &mut Markup, mos: &Mos) {
    let bands = mos.bands.iter().zip(BAND_CLASSES);
    let bars_of_bands: Vec<Bar> = bands
        .map(|(band, class)| Bar {
            label: format!("{} (from {:.2})", band.users, band.least),
            count: band.streams,
            class,
        })
        .collect();
    bars(out, "Streams by estimated MOS (E-model)", &bars_of_bands);
}

/// Packets and the pacing error over time.
fn charts(out: &mut Markup, summary: &Summary) {
    let points = summary.series.as_ref().map_or(&[][..], |series| &series.points);
    if points.iter().all(|point| point.rtp_packets_sent + point.rtp_packets_received == 0) {
        return;
    }
    let (spans, sent) = (spans(points), per_second(points, |point| point.rtp_packets_sent));
    let shaded = limited(points, &spans);
    let received = per_second(points, |point| point.rtp_packets_received);
    let curves = [
        Curve { name: "sent", class: "a", values: sent },
        Curve { name: "received", class: "c", values: received },
    ];
    let title = "RTP packets per second";
    TimeChart { title, spans: &spans, curves: &curves, shaded: &shaded, label: amount }.draw(out);
    let error = |point: &Point| {
        let is_known = point.rtp_packets_sent > 0;
        is_known.then_some(point.rtp_send_error_p99 as f64)
    };
    let error = points.iter().map(error).collect();
    let curves = [Curve { name: "p99", class: "a", values: error }];
    let title = "Pacing error of our RTP";
    TimeChart { title, spans: &spans, curves: &curves, shaded: &shaded, label: time }.draw(out);
}

/// The figures of all streams in a table.
fn facts(out: &mut Markup, summary: &Summary, streams: &Streams) {
    let media = &summary.media;
    let packets = format!(
        "{} out ({} echoed), {} in; RTCP {} out, {} in",
        units::count(media.rtp_packets_sent),
        units::count(streams.rtp_packets_echoed),
        units::count(media.rtp_packets_received),
        units::count(streams.rtcp_packets_sent),
        units::count(media.rtcp_packets_received),
    );
    let lost = streams.loss_ratio.map(|loss| {
        format!(
            "{} of {} ({}), worst stream {}; {} too late, {} twice, {} out of order",
            units::count(streams.rtp_packets_lost),
            units::count(streams.rtp_packets_expected),
            units::percent(loss),
            units::percent(streams.loss_ratio_max.unwrap_or(loss)),
            units::count(streams.rtp_packets_discarded),
            units::count(streams.rtp_packets_duplicate),
            units::count(streams.rtp_packets_reordered),
        )
    });
    let reported = (media.rtcp_reception_reports > 0).then(|| {
        format!(
            "{} of our packets lost at most, in {} reports of peers",
            units::percent(media.rtcp_max_fraction_lost),
            units::count(media.rtcp_reception_reports),
        )
    });
    let per = |figure: Option<f64>| figure.map_or("-".to_owned(), |figure| format!("{figure:.1}"));
    let batching = format!(
        "mode {}, {} packets per send call, {} per receive call",
        streams.mode,
        per(streams.packets_per_send),
        per(streams.packets_per_receive),
    );
    let mos = streams.mos_estimated.as_ref().map(|mos| {
        format!(
            "{:.2} on average, worst stream {:.2} ({} streams, estimated)",
            mos.average,
            mos.min,
            units::count(mos.streams)
        )
    });
    out.raw("<table class=\"facts\">");
    for (name, fact) in [
        ("RTP", Some(packets)),
        ("Lost", lost),
        ("Jitter of a stream", streams.jitter.as_ref().map(spread)),
        ("MOS", mos),
        ("First audio after the answer", streams.first_audio.as_ref().map(spread)),
        ("Reported by peers", reported),
        ("Round trip", streams.round_trip.as_ref().map(spread)),
        ("Pacing error", streams.rtp_send_error.as_ref().map(spread)),
        ("Batching", Some(batching)),
    ] {
        if let Some(fact) = fact {
            out.raw("<tr>").element("th", name).element("td", fact).raw("</tr>");
        }
    }
    out.raw("</table>");
}

fn spread(durations: &Durations) -> String {
    format!(
        "{} (p50), {} (p99), {} (max)",
        units::duration(durations.p50),
        units::duration(durations.p99),
        units::duration(durations.max),
    )
}

/// The calls with the worst media, the worst first.
pub(super) fn worst_calls(out: &mut Markup, streams: &Streams) {
    out.raw("<section>").element("h2", "Worst calls");
    if streams.worst_calls.is_empty() {
        let text = "No ended call was silent or heard one way only, lost a packet, or had a MOS \
                    below 4.03.";
        out.element("p", text).raw("</section>");
        return;
    }
    out.raw(
        "<div class=\"wide\"><table class=\"long calls\"><tr><th class=\"n\">Call</th><th>Heard</th>\
         <th class=\"n\">Packets</th><th class=\"n\">Lost</th><th class=\"n\">Too late</th>\
         <th class=\"n\">Max Jitter</th><th class=\"n\">MOS</th><th class=\"n\">First audio</th>\
         <th class=\"n\">Dead air</th><th>Cause</th><th>Call-ID</th></tr>",
    );
    for call in &streams.worst_calls {
        worst_call(out, call);
    }
    out.raw("</table></div><p class=\"soft\">Silent calls first, then one-way calls, then by MOS \
             of the worst five seconds and by loss. Packets are those received. At most 50 calls are \
             listed; call records (-call_records_jsonl) have all of them.</p></section>");
}

fn worst_call(out: &mut Markup, call: &BadCall) {
    let verdict = HEARD.iter().find(|(key, ..)| *key == call.heard);
    let (words, class) = verdict.map_or(("", ""), |&(_, words, class)| (words, class));
    let is_heard = call.rtp_packets_received > 0;
    let lost = call.loss_ratio.map_or("-".to_owned(), |loss| {
        format!("{} ({})", units::count(call.rtp_packets_lost), units::percent(loss))
    });
    let mos = match (call.mos_estimated, call.mos_estimated_min) {
        (Some(mos), Some(least)) if least < mos => format!("{mos:.2} (worst {least:.2})"),
        (Some(mos), _) => format!("{mos:.2}"),
        (None, _) => "-".to_owned(),
    };
    let jitter = if is_heard { units::duration(call.jitter_max) } else { "-".to_owned() };
    out.raw("<tr><td class=\"n\">").text(call.call).raw("</td><td class=\"").raw(class);
    out.raw("\">").text(words).raw("</td>");
    for figure in [
        units::count(call.rtp_packets_received),
        lost,
        units::count(call.rtp_packets_discarded),
        jitter,
        mos,
        call.first_audio.map_or("-".to_owned(), units::duration),
        units::duration(call.dead_air),
    ] {
        out.raw("<td class=\"n\">").text(figure).raw("</td>");
    }
    let cause = call.cause.as_deref().unwrap_or("").replace('_', " ");
    out.element("td", cause).raw("<td>").element("code", &call.call_id).raw("</td></tr>");
}
