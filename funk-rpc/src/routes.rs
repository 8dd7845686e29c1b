//! Which methods are routed, and where their key is.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use http::HeaderName;

use crate::key::Key;

type Decode = Arc<dyn Fn(&[u8]) -> Option<Key> + Send + Sync>;

/// Where the key of a method's requests is.
#[derive(Clone)]
pub(crate) enum Source {
    /// In the first message.
    Message(Decode),
    /// In a header, as text.
    Text(HeaderName),
    /// In a header, as a decimal integer.
    Integer(HeaderName),
}

/// The routed methods. A method that is not here is served where it arrives.
#[derive(Clone, Default)]
pub struct Routes {
    methods: HashMap<String, Source>,
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.methods.keys()).finish()
    }
}

impl Routes {
    /// No routed method.
    pub fn new() -> Self {
        Self::default()
    }

    /// Routes `path` (`/package.Service/Method`) by a key that `decode` finds
    /// in the bytes of the first message; `None` refuses the request.
    #[must_use]
    pub fn by_message(mut self, path: &str, decode: impl Fn(&[u8]) -> Option<Key> + Send + Sync + 'static) -> Self {
        self.methods.insert(path.into(), Source::Message(Arc::new(decode)));
        self
    }

    /// Routes `path` by the text of a header, without a look at the messages.
    #[must_use]
    pub fn by_header(mut self, path: &str, header: HeaderName) -> Self {
        self.methods.insert(path.into(), Source::Text(header));
        self
    }

    /// Routes `path` by a header that holds a decimal integer.
    #[must_use]
    pub fn by_integer_header(mut self, path: &str, header: HeaderName) -> Self {
        self.methods.insert(path.into(), Source::Integer(header));
        self
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Source> {
        self.methods.get(path)
    }
}
