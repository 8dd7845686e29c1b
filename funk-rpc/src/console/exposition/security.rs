//! TLS: handshakes, and the node's own certificate.

use std::time::SystemTime;

use funk_tls::Current;

use super::page::Page;
use crate::families::Kind;
use crate::server::HandshakeCounts;

/// What is to be shown of TLS.
pub(in crate::console) struct Security<'a> {
    pub(in crate::console) tls: Option<&'a Current>,
    /// By the endpoints that speak TLS.
    pub(in crate::console) handshakes: Vec<(String, HandshakeCounts)>,
}

impl Security<'_> {
    pub(super) fn show(&self, page: &mut Page<'_>) {
        page.head("funk_tls_handshakes_total", Kind::Counter, "TLS handshakes of a listener that ended well.");
        for (listener, counts) in &self.handshakes {
            page.line(&[("listener", listener)], counts.done);
        }
        let help = "Connections that a listener refused where TLS is spoken, by the reason.";
        page.head("funk_tls_refused_total", Kind::Counter, help);
        for (listener, counts) in &self.handshakes {
            for (reason, count) in &counts.refused {
                page.line(&[("listener", listener), ("reason", reason)], *count);
            }
        }
        let help = "Connections without TLS that a listener was permitted to take.";
        page.head("funk_tls_plaintext_total", Kind::Counter, help);
        for (listener, counts) in &self.handshakes {
            page.line(&[("listener", listener)], counts.plaintext);
        }
        let name = "funk_tls_certificate_remaining_seconds";
        page.head(name, Kind::Gauge, "Time until the node's own certificate expires; below 0 it has.");
        if let Some(tls) = self.tls {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
            let left = tls.get().ends().saturating_sub(i64::try_from(now).unwrap_or(i64::MAX));
            page.line(&[], left as f64);
        }
        page.head("funk_tls_generation", Kind::Gauge, "How many generations of credentials there were.");
        if let Some(tls) = self.tls {
            page.line(&[], tls.generation());
        }
        page.head("funk_tls_reload_failures_total", Kind::Counter, "Times that new credentials could not be used.");
        if let Some(tls) = self.tls {
            page.line(&[], tls.failures());
        }
    }
}
