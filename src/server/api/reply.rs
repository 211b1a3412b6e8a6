//! The memory of responses that are being written. A client that reads little of a large response
//! holds it for long, and many such clients would hold all memory.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};

use super::budget::{Budget, HELD_BYTES_MAX, SMALL_BYTES_MAX, Share};
use super::error::ApiError;

/// Size above which a response is large: scenarios are, metrics are not.
const MEDIUM_BYTES_MAX: usize = 1 << 20;

/// Bytes that large responses leave to smaller ones.
const KEPT_BYTES: usize = 16 << 20;

/// The memory that responses have together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Room(Budget);

impl Room {
    /// Gives a response its memory until the last of it is written or thrown away.
    ///
    /// # Errors
    /// 503 if others have the memory; the response is dropped then.
    pub(crate) async fn hold(&self, response: Response) -> Result<Response, ApiError> {
        let (parts, body) = response.into_parts();
        let len = body.size_hint().exact().and_then(|len| usize::try_from(len).ok()).unwrap_or(0);
        if len <= SMALL_BYTES_MAX {
            return Ok(Response::from_parts(parts, body));
        }
        let held = self.take(len)?;
        // It is in memory already, as one piece.
        let bytes = body.collect().await.map_err(|_| ApiError::internal("a response broke off"))?;
        let kept = Kept { bytes: bytes.to_bytes(), _held: held };
        let body = Body::new(Pieces { rest: Bytes::from_owner(kept) });
        Ok(Response::from_parts(parts, body))
    }

    fn take(&self, len: usize) -> Result<Share, ApiError> {
        let is_large = len > MEDIUM_BYTES_MAX;
        let kept = if is_large { KEPT_BYTES } else { 0 };
        // A response that is larger than all of the memory takes all of it, and is served.
        let bytes = (len - SMALL_BYTES_MAX).min(HELD_BYTES_MAX - kept);
        if self.0.free() < bytes + kept {
            return Err(no_room());
        }
        self.0.take(bytes).ok_or_else(no_room)
    }
}

fn no_room() -> ApiError {
    ApiError::unavailable("too many large responses are being read; try again in a while")
}

/// The bytes of a response. They hold their memory until the last of them is written.
struct Kept {
    bytes: Bytes,
    _held: Share,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body in pieces: hyper may copy a piece into a buffer of its own, and takes the next one when
/// that is written.
struct Pieces {
    rest: Bytes,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let len = self.rest.len().min(SMALL_BYTES_MAX);
        let piece = self.rest.split_to(len);
        Poll::Ready((len > 0).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn response(len: usize) -> Response {
        Response::new(Body::from(vec![b'x'; len]))
    }

    #[tokio::test]
    async fn large_responses_have_a_bounded_memory_and_others_get_through() {
        let room = Room::default();
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(room.hold(response(16 << 20)).await.unwrap());
        }
        let refused = room.hold(response(16 << 20)).await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        held.push(room.hold(response(1 << 20)).await.unwrap());
        held.push(room.hold(response(SMALL_BYTES_MAX)).await.unwrap());
        drop(held);
        assert_eq!(room.0.free(), HELD_BYTES_MAX);
        let whole = room.hold(response(HELD_BYTES_MAX + 1)).await.unwrap();
        assert!(room.hold(response(2 << 20)).await.is_err());
        drop(whole);
        assert_eq!(room.0.free(), HELD_BYTES_MAX);
    }

    #[tokio::test]
    async fn what_is_being_written_is_held_until_it_is() {
        let room = Room::default();
        let len = SMALL_BYTES_MAX + 3;
        let mut body = room.hold(response(len)).await.unwrap().into_body();
        assert_eq!(body.size_hint().exact(), Some(len as u64), "its length is told");
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let last = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!((first.len(), last.len()), (SMALL_BYTES_MAX, 3));
        assert!(body.is_end_stream() && body.frame().await.is_none());
        drop((body, first));
        assert_eq!(room.0.free(), HELD_BYTES_MAX - 3, "the last piece waits");
        drop(last);
        assert_eq!(room.0.free(), HELD_BYTES_MAX);
    }
}
