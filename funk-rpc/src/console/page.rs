//! The page's parts, built into the program: it works without any other server.

use http::{HeaderValue, Response, StatusCode, header};
use tonic::body::Body;

/// Everything comes from the node itself, and nothing may embed the page. It may only knock at other members'
/// pages, whose answers it cannot read, to see where to go on when its node is gone; where they are changes. The
/// icon of an alarm is data: a node that is gone serves none.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; connect-src 'self' http: https:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'; object-src 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Path, kind and text of each part.
const ASSETS: [(&str, &str, &str); 31] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/page/style.css", CSS, include_str!("page/style.css")),
    ("/page/icon.svg", SVG, include_str!("page/icon.svg")),
    ("/page/alarm.svg", SVG, include_str!("page/alarm.svg")),
    ("/page/theme.js", SCRIPT, include_str!("page/theme.js")),
    ("/page/app.js", SCRIPT, include_str!("page/app.js")),
    ("/page/alarm.js", SCRIPT, include_str!("page/alarm.js")),
    ("/page/card.js", SCRIPT, include_str!("page/card.js")),
    ("/page/colours.js", SCRIPT, include_str!("page/colours.js")),
    ("/page/curve.js", SCRIPT, include_str!("page/curve.js")),
    ("/page/dom.js", SCRIPT, include_str!("page/dom.js")),
    ("/page/facts.js", SCRIPT, include_str!("page/facts.js")),
    ("/page/feed.js", SCRIPT, include_str!("page/feed.js")),
    ("/page/flow.js", SCRIPT, include_str!("page/flow.js")),
    ("/page/fragment.js", SCRIPT, include_str!("page/fragment.js")),
    ("/page/glossary.js", SCRIPT, include_str!("page/glossary.js")),
    ("/page/hatch.js", SCRIPT, include_str!("page/hatch.js")),
    ("/page/incidents.js", SCRIPT, include_str!("page/incidents.js")),
    ("/page/labels.js", SCRIPT, include_str!("page/labels.js")),
    ("/page/ledger.js", SCRIPT, include_str!("page/ledger.js")),
    ("/page/lens.js", SCRIPT, include_str!("page/lens.js")),
    ("/page/live.js", SCRIPT, include_str!("page/live.js")),
    ("/page/map.js", SCRIPT, include_str!("page/map.js")),
    ("/page/members.js", SCRIPT, include_str!("page/members.js")),
    ("/page/move.js", SCRIPT, include_str!("page/move.js")),
    ("/page/peers.js", SCRIPT, include_str!("page/peers.js")),
    ("/page/poll.js", SCRIPT, include_str!("page/poll.js")),
    ("/page/terms.js", SCRIPT, include_str!("page/terms.js")),
    ("/page/territories.js", SCRIPT, include_str!("page/territories.js")),
    ("/page/verdict.js", SCRIPT, include_str!("page/verdict.js")),
    ("/page/words.js", SCRIPT, include_str!("page/words.js")),
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
            let text = text.replace("http://www.w3.org/2000/svg", "");
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
