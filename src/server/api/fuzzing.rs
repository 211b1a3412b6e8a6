//! A door for fuzzing (`fuzz/`): what a request says, read without a connection or an engine.
//! Only `cargo fuzz` builds it.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version};

use super::body::{self, Parameters};
use super::error::ApiError;
use super::forwarded;
use super::guard::Names;
use super::model::{ControlRequest, LoginRequest, TransportsRequest};
use crate::config::targets::Network;

/// Reads a request: its target, its header lines and its body, as the routes do. Gives back the
/// texts of what is refused.
pub fn request(target: &[u8], headers: &[(&[u8], &[u8])], bytes: &[u8]) -> Vec<String> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            map.append(name, value);
        }
    }
    let names = Names {
        hosts: vec!["lab7".to_owned()],
        origins: vec!["https://console.example".to_owned()],
        is_strict: true,
        proxies: ["10.0.0.0/8", "2001:db8::/32"]
            .iter()
            .flat_map(|text| Network::parse(text))
            .collect(),
    };
    let peer = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    let _ = (forwarded::is_relayed(&map), forwarded::asker(&map, peer, &names));
    let _ = body::media_type(&map);
    let parameters = match Uri::try_from(target) {
        Ok(uri) => Parameters::of(&uri, &["engine", "last", "full"]).and_then(|parameters| {
            parameters.text("engine");
            parameters.switch("full")?;
            parameters.whole("last", 1..=100)?;
            Ok(())
        }),
        Err(_) => Ok(()),
    };
    let answers = [
        names.check_host(Version::HTTP_11, &map),
        names.check_origin(&map),
        parameters,
        body::json::<ControlRequest>(bytes).map(drop),
        body::json::<LoginRequest>(bytes).map(drop),
        body::json::<TransportsRequest>(bytes).map(drop),
    ];
    let text = |error: ApiError| error.message().to_owned();
    answers.into_iter().filter_map(Result::err).map(text).collect()
}
