//! Who asks: by the cookie of a session, or by what a proxy says.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::HeaderMap;

use super::session::Session;
use super::{Console, SignIn, guard};
use crate::config::rows::read_by;

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// How a request counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Somebody does something: the session lasts longer.
    ByPerson,
    /// A page keeps itself up to date.
    ByPage,
}

/// Why nobody is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nobody {
    /// Nobody has signed in, or the session is over.
    SignedOut,
    /// The proxy names nobody, or somebody with no name that fits.
    Unnamed,
}

impl Console {
    /// Who asks.
    pub(super) fn person(&self, headers: &HeaderMap, how: Use) -> Result<Arc<Session>, Nobody> {
        match (&self.settings.sign_in, &self.shared) {
            (SignIn::ProxyHeader(header), Some(database)) => {
                let mut named = headers.get_all(header).iter();
                let name = named.next().and_then(|name| name.to_str().ok()).map(str::trim).unwrap_or_default();
                // Two of them are one of the proxy and one of somebody else.
                if name.is_empty() || read_by(name).is_err() || named.next().is_some() {
                    return Err(Nobody::Unnamed);
                }
                let known = self.sessions.used(name);
                let begin = || self.sessions.keep(name, Session::new(name.to_owned(), true, database.clone()));
                Ok(known.unwrap_or_else(begin))
            }
            (SignIn::ProxyHeader(_), None) | (SignIn::Role, _) => {
                let token = self.token(headers).ok_or(Nobody::SignedOut)?;
                let session = match how {
                    Use::ByPerson => self.sessions.used(token),
                    Use::ByPage => self.sessions.looked_at(token),
                };
                session.ok_or(Nobody::SignedOut)
            }
        }
    }

    /// The token of a session, whether there still is one or not.
    pub(super) fn token<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        guard::cookie(headers, self.is_secure())
    }
}
