//! The status page: files of our own, without a build step and without inline script or style, so
//! that the content policy can forbid both.

use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};

/// A file of the page.
pub(crate) struct File {
    pub(crate) path: &'static str,
    media_type: &'static str,
    text: &'static str,
}

/// All of them.
pub(crate) static FILES: &[File] = &[
    File { path: "/", media_type: "text/html; charset=utf-8", text: include_str!("index.html") },
    File {
        path: "/assets/status.css",
        media_type: "text/css; charset=utf-8",
        text: include_str!("status.css"),
    },
    File {
        path: "/assets/status.js",
        media_type: "text/javascript; charset=utf-8",
        text: include_str!("status.js"),
    },
    File {
        path: "/assets/chart.js",
        media_type: "text/javascript; charset=utf-8",
        text: include_str!("chart.js"),
    },
    File { path: "/assets/icon.svg", media_type: "image/svg+xml", text: include_str!("icon.svg") },
];

impl File {
    pub(crate) fn response(&self) -> Response {
        let mut response = self.text.into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        // Another version of the daemon may answer the next time.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
        let page = FILES[0].text;
        for banned in
            ["<style", "style=\"", "onclick", "onload", "javascript:", "http://", "https://"]
        {
            assert!(!page.contains(banned), "{banned}");
        }
        for script in page.split("<script").skip(1) {
            assert!(script.contains(" src=\"/assets/"), "{script}");
        }
        for file in FILES.iter().filter(|file| file.path.ends_with(".js")) {
            for banned in ["innerHTML", "eval(", "document.write", "setAttribute(\"style\""] {
                assert!(!file.text.contains(banned), "{} in {}", banned, file.path);
            }
        }
    }

    #[test]
    fn every_file_that_the_page_names_is_there() {
        for name in FILES[0].text.split("\"/assets/").skip(1) {
            let name = name.split('"').next().unwrap();
            let path = format!("/assets/{name}");
            assert!(FILES.iter().any(|file| file.path == path), "{path}");
        }
    }
}
