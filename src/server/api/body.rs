//! Reading bodies and queries of requests: bytes, JSON and parameters. A body stays within the
//! limit of its route and within the memory that all bodies have together.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Query;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use http::{HeaderMap, Uri};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;

use super::budget::{Budget, SMALL_BYTES_MAX, Share};
use super::error::ApiError;

/// The limits of the body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) bytes: usize,
    pub(crate) time: Duration,
}

impl Allowance {
    /// The allowance of a client that was let in, on a route that takes `bytes`.
    pub(crate) fn of_known(bytes: usize) -> Self {
        Self { bytes, time: Duration::from_secs(30) }
    }

    /// The allowance of a client that was not let in, or did not have to be.
    pub(crate) fn of_stranger(bytes: usize) -> Self {
        Self { bytes: bytes.min(STRANGER_BYTES_MAX), time: Duration::from_secs(5) }
    }
}

/// The most bytes of the body of a stranger.
const STRANGER_BYTES_MAX: usize = 64 << 10;

/// Bytes that are read of an unwanted body, so that its sender gets to read the refusal: a
/// connection that is closed with unread bytes is reset.
const DRAINED_BYTES_MAX: usize = 1 << 20;

/// The time that such a body may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The memory that bodies have together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Room(Budget);

/// A body that was read. It has its memory as long as it is held.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    /// The bytes of the body.
    pub(crate) bytes: Bytes,
    _held: Option<Share>,
}

impl Room {
    /// Refuses a body of `len` bytes for which there is no memory now.
    fn check(&self, len: usize) -> Result<(), ApiError> {
        match counted(len) <= self.0.free() {
            true => Ok(()),
            false => Err(no_room()),
        }
    }

    /// Adds memory for `more` bytes to a body that has `len` already.
    fn hold(&self, held: &mut Option<Share>, len: usize, more: usize) -> Result<(), ApiError> {
        let bytes = counted(len + more) - counted(len);
        if bytes == 0 {
            return Ok(());
        }
        let share = self.0.take(bytes).ok_or_else(no_room)?;
        match held {
            Some(held) => held.merge(share),
            None => *held = Some(share),
        }
        Ok(())
    }
}

/// The bytes of a body of `len` that count.
fn counted(len: usize) -> usize {
    len.saturating_sub(SMALL_BYTES_MAX)
}

fn no_room() -> ApiError {
    ApiError::unavailable("too many large bodies are being read; try again in a while")
}

/// Reads a body within its allowance, as long as there is memory for it.
///
/// # Errors
/// 413, 408, 503, and 400 for a body that breaks off.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    allowance: Allowance,
    room: &Room,
) -> Result<Carried, ApiError> {
    let limit_bytes = allowance.bytes;
    let refusal = announced(headers).and_then(|len| match usize::try_from(len) {
        Ok(len) if len <= limit_bytes => room.check(len).err(),
        _ => Some(ApiError::too_large(limit_bytes)),
    });
    if let Some(error) = refusal {
        drain(headers, body).await;
        return Err(error);
    }
    let collected = collect(body, limit_bytes, room);
    let collected = tokio::time::timeout(allowance.time, collected).await;
    collected.unwrap_or_else(|_| Err(ApiError::too_slow(allowance.time)))
}

/// Copies the bytes of a body together. Keeping its pieces would cost many times their bytes if a
/// client sends one byte in each.
async fn collect(mut body: Body, limit_bytes: usize, room: &Room) -> Result<Carried, ApiError> {
    let (mut bytes, mut held) = (Vec::new(), None);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::bad_request("the body is not complete"))?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit_bytes - bytes.len() {
            return Err(ApiError::too_large(limit_bytes));
        }
        room.hold(&mut held, bytes.len(), data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok(Carried { bytes: bytes.into(), _held: held })
}

/// Reads an unwanted body, up to a limit, and throws it away.
pub(crate) async fn drain(headers: &HeaderMap, mut body: Body) {
    // Reading would ask for it: the sender waits for leave (RFC 9110, section 10.1.1).
    if headers.contains_key(EXPECT) {
        return;
    }
    // Neither the content matters nor whether the body came to its end.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, async {
        let mut len = 0;
        while let Some(Ok(frame)) = body.frame().await {
            len += frame.data_ref().map_or(0, Bytes::len);
            if len > DRAINED_BYTES_MAX {
                break;
            }
        }
    })
    .await;
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The media type of the body, in lower case and without parameters; `None` without the header.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().unwrap_or("unreadable");
    let essence = value.split(';').next().unwrap_or("").trim();
    Some(essence.to_ascii_lowercase())
}

/// Reads JSON into a `T`.
///
/// # Errors
/// 400 with the key, the line and the column.
pub(crate) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ApiError::bad_request("the body is empty; send a JSON object"));
    }
    // A list would be taken for the fields in their order, on which no client should rely.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(ApiError::bad_request("the body is a list; send a JSON object"));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        match path.as_str() {
            "." | "?" => ApiError::bad_request(format!("the body is not valid JSON here: {inner}")),
            path => ApiError::bad_request(format!("{path}: {}", in_words(&inner.to_string()))),
        }
    })?;
    reader.end().map_err(|error| {
        ApiError::bad_request(format!("there is text after the JSON object: {error}"))
    })?;
    Ok(value)
}

/// The finding of a parser, with the kinds of JSON in the place of the types of Rust.
fn in_words(text: &str) -> String {
    const WORDS: [(&str, &str); 4] = [
        ("expected f64", "a number is needed"),
        ("expected u64", "a whole number from 0 on is needed"),
        ("expected a boolean", "true or false is needed"),
        ("expected a string", "a text in quotes is needed"),
    ];
    let found = WORDS.iter().find(|(theirs, _)| text.contains(theirs));
    found.map_or_else(|| text.to_owned(), |(theirs, ours)| text.replace(theirs, ours))
}

/// The parameters of a request's query.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads the query of `uri`; every parameter must be one of `known`, and stand there once.
    ///
    /// # Errors
    /// 400 with the parameter.
    pub(crate) fn of(uri: &Uri, known: &[&str]) -> Result<Self, ApiError> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| ApiError::bad_request("the query is not name=value&..."))?;
        for (index, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let name: String = name.chars().take(60).collect();
                let message = match (name.as_str(), known) {
                    ("token", _) => "?token= is for /api/v1/live only; send the token as \
                         Authorization: Bearer"
                        .to_owned(),
                    (_, []) => {
                        format!("unknown query parameter {name:?}; this route has no parameters")
                    }
                    _ => format!("unknown query parameter {name:?}; known: {}", known.join(", ")),
                };
                return Err(ApiError::bad_request(message));
            }
            if pairs[..index].iter().any(|(other, _)| other == name) {
                return Err(ApiError::bad_request(format!("{name} is given twice")));
            }
        }
        Ok(Self(pairs))
    }

    /// The value of `name`.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// `name` as a switch: `1` and `true`, `0` and `false`; off where it is missing.
    ///
    /// # Errors
    /// 400 for anything else.
    pub(crate) fn switch(&self, name: &str) -> Result<bool, ApiError> {
        match self.text(name) {
            None | Some("0" | "false") => Ok(false),
            Some("1" | "true") => Ok(true),
            Some(_) => Err(ApiError::bad_request(format!("{name} must be 1, true, 0 or false"))),
        }
    }

    /// `name` as a whole number of `range`.
    ///
    /// # Errors
    /// 400 for anything else.
    pub(crate) fn whole(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<u32>,
    ) -> Result<Option<u32>, ApiError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let value = text.parse().ok().filter(|value| range.contains(value));
        value.map(Some).ok_or_else(|| {
            let (low, high) = (range.start(), range.end());
            ApiError::bad_request(format!("{name} must be a whole number from {low} to {high}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::StatusCode;
    use serde::Deserialize;

    use super::super::budget::HELD_BYTES_MAX;
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[serde(default)]
        rates: Vec<f64>,
    }

    fn message(text: &str) -> String {
        json::<Sample>(text.as_bytes()).unwrap_err().message().to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_gets_less_time_and_less_room() {
        let slow =
            || Body::from_stream(futures_util::stream::pending::<Result<Bytes, Infallible>>());
        for (allowance, seconds) in
            [(Allowance::of_stranger(16 << 20), 5), (Allowance::of_known(16 << 20), 30)]
        {
            let begin = tokio::time::Instant::now();
            let room = Room::default();
            let error = read(&HeaderMap::new(), slow(), allowance, &room).await.unwrap_err();
            assert_eq!(error.status(), StatusCode::REQUEST_TIMEOUT);
            assert_eq!(begin.elapsed().as_secs(), seconds, "on a clock that only timers move");
        }
        let body = || Body::from(vec![b' '; (64 << 10) + 1]);
        let none = HeaderMap::new();
        let room = Room::default();
        let refused = read(&none, body(), Allowance::of_stranger(1 << 20), &room).await;
        assert_eq!(refused.unwrap_err().status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert!(read(&none, body(), Allowance::of_known(1 << 20), &room).await.is_ok());
        assert_eq!(Allowance::of_stranger(1 << 10).bytes, 1 << 10);
    }

    #[tokio::test]
    async fn all_bodies_have_a_bounded_memory_and_small_ones_get_through() {
        const LARGE: usize = 16 << 20;
        let (room, none) = (Room::default(), HeaderMap::new());
        let send = async |len: usize| {
            // In pieces, as from a connection.
            let pieces = vec![Bytes::from(vec![b' '; 32 << 10]); len.div_ceil(32 << 10)];
            let pieces = futures_util::stream::iter(pieces.into_iter().map(Ok::<_, Infallible>));
            read(&none, Body::from_stream(pieces), Allowance::of_known(LARGE), &room).await
        };
        let mut held = Vec::new();
        for _ in 0..HELD_BYTES_MAX / LARGE {
            held.push(send(LARGE).await.unwrap());
        }
        assert!(held.iter().all(|carried| carried.bytes.len() == LARGE));
        let refused = send(LARGE).await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        for _ in 0..100 {
            held.push(send(SMALL_BYTES_MAX).await.unwrap());
        }
        // The bytes of the refused body count no more, nor those of a body that was dropped.
        let free = held.len() * SMALL_BYTES_MAX - 100 * SMALL_BYTES_MAX;
        assert_eq!(room.0.free(), free);
        drop(held);
        assert_eq!(room.0.free(), HELD_BYTES_MAX);
        assert!(send(LARGE).await.is_ok());
    }

    #[test]
    fn mistakes_in_json_are_named_with_their_place() {
        assert_eq!(json::<Sample>(br#"{"rates":[1, 2.5]}"#).unwrap().rates, [1.0, 2.5]);
        let text = message("{\"rates\":[1,\n\"x\"]}");
        assert!(text.contains("a number is needed"), "{text}");
        assert!(text.starts_with("rates[1]: ") && text.contains("line 2 column"), "{text}");
        let text = message(r#"{"rat":1}"#);
        assert!(text.contains("`rat`") && text.contains("`rates`"), "{text}");
        for text in ["", " \n", "{", "[]", "{} {}", "null", "\u{1}", "{\"rates\":[1]"] {
            assert!(!message(text).is_empty(), "{text:?}");
        }
    }

    #[test]
    fn parameters_are_known_or_refused() {
        let of = |query: &str, known: &[&str]| {
            Parameters::of(&format!("/x?{query}").parse().unwrap(), known)
        };
        assert_eq!(of("id=a%20b", &["id"]).unwrap().text("id"), Some("a b"));
        assert!(of("", &[]).is_ok());
        assert!(of("idd=1", &["id"]).unwrap_err().message().contains("known: id"));
        assert!(of("id=1&id=2", &["id"]).unwrap_err().message().contains("twice"));
        assert!(of("token=secret", &[]).unwrap_err().message().contains("Bearer"));
        let given = of("apply=true&n=250", &["apply", "n"]).unwrap();
        assert!(given.switch("apply").unwrap() && !given.switch("other").unwrap());
        assert_eq!(given.whole("n", 250..=60_000).unwrap(), Some(250));
        assert!(given.whole("n", 251..=60_000).is_err());
        assert!(given.switch("n").is_err());
    }
}
