//! A token without which the page shows nothing.

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use subtle::ConstantTimeEq;
use tonic::body::Body;

use super::text;
use crate::limits::TOKEN_BYTES_MAX;

/// A secret that whoever wants to see the page must show: as a bearer token, or, in browsers, as the password of any user.
#[derive(Clone)]
pub struct PageToken(Arc<str>);

impl fmt::Debug for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageToken").finish_non_exhaustive()
    }
}

impl PageToken {
    /// This one, without the white space around it.
    ///
    /// # Errors
    /// It is empty, or has characters that a header cannot have.
    pub fn new(token: &str) -> Result<Self, &'static str> {
        let token = token.trim();
        match token {
            "" => Err("holds no token"),
            _ if token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Self(token.into())),
            _ => Err("holds more than one word of ASCII characters"),
        }
    }

    /// The one in this file.
    ///
    /// # Errors
    /// The file cannot be read, or holds none.
    pub fn read(path: &Path) -> Result<Self, String> {
        let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
        let mut text = String::new();
        file.take(TOKEN_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
        if text.len() as u64 > TOKEN_BYTES_MAX {
            return Err(format!("is longer than {TOKEN_BYTES_MAX} bytes"));
        }
        Self::new(&text).map_err(str::to_owned)
    }

    /// Whether whoever sent these headers has it. How long that takes tells nothing but the token's length.
    pub(super) fn is_shown_by(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some((scheme, value)) = shown.and_then(|shown| shown.split_once(' ')) else { return false };
        let is = |token: &[u8]| bool::from(token.ct_eq(self.0.as_bytes()));
        if scheme.eq_ignore_ascii_case("bearer") {
            return is(value.trim().as_bytes());
        }
        let decoded = STANDARD.decode(value.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"));
        let password = |bytes: &[u8]| bytes.iter().position(|byte| *byte == b':').map(|at| bytes[at + 1..].to_vec());
        decoded.as_deref().and_then(password).is_some_and(|password| is(&password))
    }
}

/// The answer to whoever does not have it.
pub(super) fn refused() -> Response<Body> {
    let mut response = text(StatusCode::UNAUTHORIZED, "the token of --http-auth is needed\n".into());
    response.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"funk\""));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(value: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        PageToken::new(" s3cret\n").unwrap().is_shown_by(&headers)
    }

    #[test]
    fn the_token_is_a_bearer_s_or_a_password() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert!(
            shows("Bearer s3cret")
                && shows("bearer  s3cret ")
                && shows(&basic("me:s3cret"))
                && shows(&basic(":s3cret"))
        );
        for other in ["s3cret", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cretx", "Basic s3cret", "Digest s3cret"]
        {
            assert!(!shows(other), "{other}");
        }
        assert!(!shows(&basic("s3cret")) && !shows(&basic("s3cret:")) && !shows(&basic("me:s3crets")));
        assert!(!PageToken::new("x").unwrap().is_shown_by(&HeaderMap::new()));
        assert!(PageToken::new(" \n").is_err() && PageToken::new("two words").is_err() && PageToken::new("ä").is_err());
    }
}
