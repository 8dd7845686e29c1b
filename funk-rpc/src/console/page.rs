//! The page's parts, built into the program: it works without any other server.

use http::{HeaderValue, Response, StatusCode, header};
use tonic::body::Body;

/// Everything comes from the node itself, and nothing may embed the page.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Path, kind and text of each part.
const ASSETS: [(&str, &str, &str); 17] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/page/style.css", CSS, include_str!("page/style.css")),
    ("/page/icon.svg", SVG, include_str!("page/icon.svg")),
    ("/page/theme.js", SCRIPT, include_str!("page/theme.js")),
    ("/page/app.js", SCRIPT, include_str!("page/app.js")),
    ("/page/live.js", SCRIPT, include_str!("page/live.js")),
    ("/page/colours.js", SCRIPT, include_str!("page/colours.js")),
    ("/page/words.js", SCRIPT, include_str!("page/words.js")),
    ("/page/map.js", SCRIPT, include_str!("page/map.js")),
    ("/page/curve.js", SCRIPT, include_str!("page/curve.js")),
    ("/page/territories.js", SCRIPT, include_str!("page/territories.js")),
    ("/page/members.js", SCRIPT, include_str!("page/members.js")),
    ("/page/terms.js", SCRIPT, include_str!("page/terms.js")),
    ("/page/flow.js", SCRIPT, include_str!("page/flow.js")),
    ("/page/incidents.js", SCRIPT, include_str!("page/incidents.js")),
    ("/page/ledger.js", SCRIPT, include_str!("page/ledger.js")),
    ("/page/verdict.js", SCRIPT, include_str!("page/verdict.js")),
];

/// The part of the page at `path`.
pub(super) fn asset(path: &str) -> Option<Response<Body>> {
    let (_, kind, text) = ASSETS.iter().find(|(at, ..)| *at == path)?;
    let mut response = super::content(StatusCode::OK, kind, (*text).to_owned());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_that_the_page_names_is_served_and_nothing_comes_from_elsewhere() {
        for (path, _, text) in ASSETS {
            let foreign = ["https://", "http://", "//cdn", "@import", "style=\"", "onclick"];
            // An SVG must name its namespace, which no browser fetches.
            let text = text.replace("http://www.w3.org/2000/svg", "").replace("`http://${", "");
            for word in foreign {
                assert!(!text.contains(word), "{path} says {word}");
            }
            let named = text.split(['"', '\'']).filter(|part| part.starts_with("/page/") || part.starts_with("./"));
            for name in named {
                let name = name.replace("./", "/page/");
                assert!(asset(&name).is_some(), "{path} names {name}, which is not served");
            }
        }
        assert!(asset("/page/none.js").is_none());
    }

    #[test]
    fn the_page_carries_a_strict_policy() {
        let page = asset("/").unwrap();
        let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'self';") && !policy.contains("unsafe"), "{policy}");
    }
}
