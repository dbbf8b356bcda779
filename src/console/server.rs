//! Connections: how many there may be, and how long they may take.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{interval, timeout};
use tokio_rustls::TlsAcceptor;

use super::Console;
use super::person::Peer;
use super::routes::router;

/// How many connections there may be at once: a browser has six, and some of them wait for what is new.
const CONNECTIONS: usize = 256;
/// How long a request's head may take to come, and how long a connection may be silent.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// How long the handshake of TLS may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection may last in all.
const CONNECTION_WITHIN: Duration = Duration::from_secs(20 * 60);
/// The largest head of a request.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// How often sessions that are over are ended.
const TIDY_EVERY: Duration = Duration::from_secs(15);
/// How long a connection to the database is kept that nobody uses.
const DATABASE_IDLE: Duration = Duration::from_secs(60);

/// The certificate or its key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct CertificateError {
    path: PathBuf,
    problem: String,
}

/// Serves until it is dropped.
///
/// # Errors
///
/// [`CertificateError`] at the start.
pub async fn serve(listener: TcpListener, console: Arc<Console>) -> Result<Infallible, CertificateError> {
    let tls = match &console.settings.certificate {
        None => None,
        Some((certificate, key)) => Some(TlsAcceptor::from(Arc::new(tls(certificate, key)?))),
    };
    let router = router(console.clone());
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let mut tidying = interval(TIDY_EVERY);
    loop {
        let accepted = async {
            // Nobody closes this semaphore.
            let place = free.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            _ = tidying.tick() => {
                console.sessions.tidy(DATABASE_IDLE);
                continue;
            }
        };
        match accepted {
            Ok((stream, peer)) => {
                let (router, tls) = (router.clone(), tls.clone());
                tokio::spawn(async move {
                    let _place = place;
                    match tls {
                        None => converse(stream, peer, router).await,
                        Some(tls) => match timeout(HANDSHAKE_WITHIN, tls.accept(stream)).await {
                            Ok(Ok(stream)) => converse(stream, peer, router).await,
                            Ok(Err(error)) => tracing::debug!(%error, "a connection did not come to TLS"),
                            Err(_) => tracing::debug!("a connection did not come to TLS in time"),
                        },
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                // Out of file descriptors, most likely: accepting again at once would spin.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: SocketAddr, router: Router) {
    let service = TowerToHyperService::new(router.layer(Extension(Peer(peer))));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(MAX_HEAD_BYTES);
    match timeout(CONNECTION_WITHIN, http.serve_connection(TokioIo::new(stream), service)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::trace!(%error, "a connection ended early"),
        Err(_) => tracing::trace!("a connection was cut: it took too long"),
    }
}

fn tls(certificate: &Path, key: &Path) -> Result<ServerConfig, CertificateError> {
    let of = |path: &Path| {
        let path = path.to_owned();
        move |problem: String| CertificateError { path, problem }
    };
    let found = CertificateDer::pem_file_iter(certificate).map_err(|error| of(certificate)(error.to_string()))?;
    let chain: Vec<_> = found.collect::<Result<_, _>>().map_err(|error| of(certificate)(error.to_string()))?;
    if chain.is_empty() {
        return Err(of(certificate)("holds no PEM certificate".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| of(key)(error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.map_err(|error| of(certificate)(error.to_string()))?;
    versions.with_no_client_auth().with_single_cert(chain, private).map_err(|error| of(key)(error.to_string()))
}
