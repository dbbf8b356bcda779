//! An archive in S3. A put says that nothing may stand under the name yet, and what the SHA-256 of its bytes is: the bucket
//! refuses to replace an object, and one that is damaged on the way.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Builder, IdentityCache, StalledStreamProtectionConfig};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::ChecksumAlgorithm;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{Object, Partial, Put, StorageError};
use crate::aws::caller::{self, Attempt, Caller};
use crate::aws::clock::ServerClock;
use crate::aws::endpoint::{CONNECT_TIMEOUT, aws_settings, configured, fit, look_for_credentials};
use crate::aws::{CallError, Fault};
use crate::retry::Pauses;

/// How long the transfer of one file may take: 1 GiB at 1 MB a second.
const TRANSFER_DEADLINE: Duration = Duration::from_secs(20 * 60);

/// How often a call is tried that failed in passing.
const ATTEMPTS: u32 = 8;

/// A part of a bucket.
#[derive(Debug)]
pub struct Bucket {
    caller: Caller<Client>,
    bucket: String,
    prefix: String,
}

impl Bucket {
    pub(super) async fn connect(bucket: &str, prefix: &str) -> Result<Self, StorageError> {
        Self::connect_with(bucket, prefix, &aws_settings().await).await
    }

    /// A part of a bucket, reached with AWS settings from elsewhere than the environment.
    ///
    /// # Errors
    ///
    /// [`StorageError`]
    pub async fn connect_with(bucket: &str, prefix: &str, aws: &SdkConfig) -> Result<Self, StorageError> {
        let endpoint = configured(aws, "S3").map(|endpoint| fit(endpoint, false)).transpose()?;
        look_for_credentials(aws).await?;
        let caller = caller(aws, endpoint);
        Ok(Self { caller, bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }

    /// A put whose reply is lost may have been done: the next one is then told that the name is taken.
    pub(super) async fn put(&self, name: &str, partial: Partial, sha256: &[u8; 32]) -> Result<Put, StorageError> {
        const CALL: &str = "PutObject";
        let checksum = BASE64_STANDARD.encode(sha256);
        let unreadable = |error: io::Error| StorageError::Folder { attempted: "read", name: name.to_owned(), error };
        let stored = self.again(name, async || {
            let bytes = partial.file.metadata().map(|file| file.len());
            let body = body_of(&partial.file, bytes.unwrap_or(0)).await;
            let Ok(body) = body else { return Err(Failed::Locally(body.err())) };
            let attempt = self.caller.attempt();
            let put = attempt.put_object().bucket(&self.bucket).key(self.key(name)).if_none_match("*");
            let put = put.checksum_algorithm(ChecksumAlgorithm::Sha256).checksum_sha256(&checksum).body(body);
            match put.send().await {
                Ok(_) => Ok(Put::Stored),
                Err(error) if is_taken(&error) => Ok(Put::Taken),
                Err(error) => Err(self.failed(CALL, &attempt, &error)),
            }
        });
        stored.await.map_err(|failed| failed.within(name, unreadable))
    }

    pub(super) async fn get(&self, name: &str) -> Result<File, StorageError> {
        const CALL: &str = "GetObject";
        let got = self.again(name, async || {
            let attempt = self.caller.attempt();
            let get = attempt.get_object().bucket(&self.bucket).key(self.key(name)).send().await;
            let mut object = get.map_err(|error| self.failed(CALL, &attempt, &error))?;
            let mut file = tempfile::tempfile().map_err(|error| Failed::Locally(Some(error)))?;
            while let Some(chunk) = object.body.next().await {
                let chunk = chunk.map_err(|_| Failed::Call(cut_off(CALL)))?;
                file.write_all(&chunk).map_err(|error| Failed::Locally(Some(error)))?;
            }
            file.rewind().map_err(|error| Failed::Locally(Some(error)))?;
            Ok(file)
        });
        let unwritable = |error| StorageError::Folder { attempted: "make room for", name: name.to_owned(), error };
        got.await.map_err(|failed| match &failed {
            Failed::Call(error) if error.status == Some(404) && error.fault.name() != Some("NoSuchBucket") => {
                StorageError::Missing(name.to_owned())
            }
            Failed::Call(error) if error.status == Some(404) => StorageError::NoBucket(self.bucket.clone()),
            Failed::Call(_) | Failed::Locally(_) => failed.within(name, unwritable),
        })
    }

    pub(super) async fn head(&self, name: &str) -> Result<Option<u64>, StorageError> {
        const CALL: &str = "HeadObject";
        let found = self.again(name, async || {
            let attempt = self.caller.attempt();
            match attempt.head_object().bucket(&self.bucket).key(self.key(name)).send().await {
                Ok(found) => Ok(found.content_length().and_then(|bytes| u64::try_from(bytes).ok())),
                Err(error) if error.as_service_error().is_some_and(|error| error.is_not_found()) => Ok(None),
                Err(error) => Err(self.failed(CALL, &attempt, &error)),
            }
        });
        found.await.map_err(|failed| failed.within(name, nothing_local))
    }

    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<Object>, StorageError> {
        const CALL: &str = "ListObjectsV2";
        let prefix = self.key(prefix);
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.again(&self.bucket, async || {
                let attempt = self.caller.attempt();
                let list = attempt.list_objects_v2().bucket(&self.bucket).prefix(&prefix);
                let page = list.set_continuation_token(after.clone()).send().await;
                page.map_err(|error| self.failed(CALL, &attempt, &error))
            });
            let page = page.await.map_err(|failed| match &failed {
                Failed::Call(error) if error.status == Some(404) => StorageError::NoBucket(self.bucket.clone()),
                _ => failed.within(&self.bucket, nothing_local),
            })?;
            found.extend(page.contents().iter().filter_map(|object| {
                let name = object.key()?.strip_prefix(&self.prefix)?.to_owned();
                Some(Object { name, bytes: u64::try_from(object.size()?).ok()? })
            }));
            after = page.next_continuation_token().map(str::to_owned);
            if after.is_none() {
                return Ok(found);
            }
        }
    }

    pub(super) async fn remove(&self, name: &str) -> Result<(), StorageError> {
        const CALL: &str = "DeleteObject";
        let removed = self.again(name, async || {
            let attempt = self.caller.attempt();
            let removed = attempt.delete_object().bucket(&self.bucket).key(self.key(name)).send().await;
            removed.map(drop).map_err(|error| self.failed(CALL, &attempt, &error))
        });
        removed.await.map_err(|failed| failed.within(name, nothing_local))
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Makes a call until it succeeds, is refused for good, or has failed often.
    async fn again<T>(&self, name: &str, call: impl AsyncFn() -> Result<T, Failed>) -> Result<T, Failed> {
        let mut pauses = Pauses::through_an_outage();
        for attempt in 1.. {
            match call().await {
                Err(Failed::Call(error)) if attempt < ATTEMPTS && !error.is_for_good() => {
                    tracing::warn!(%error, object = name, attempt, "a call to S3 failed and is made again");
                    tokio::time::sleep(pauses.next_pause()).await;
                }
                ended => return ended,
            }
        }
        Err(Failed::Locally(None))
    }

    fn failed<E: ProvideErrorMetadata>(
        &self,
        call: &'static str,
        attempt: &Attempt<Client>,
        error: &SdkError<E, HttpResponse>,
    ) -> Failed {
        Failed::Call(self.caller.failure(call, attempt, error))
    }
}

/// Why a call did not come to its end.
enum Failed {
    Call(CallError),
    /// A file of this machine.
    Locally(Option<io::Error>),
}

impl Failed {
    fn within(self, name: &str, local: impl FnOnce(io::Error) -> StorageError) -> StorageError {
        match self {
            Self::Call(error) => StorageError::S3 { name: name.to_owned(), error },
            Self::Locally(error) => local(error.unwrap_or_else(|| io::ErrorKind::Other.into())),
        }
    }
}

fn nothing_local(error: io::Error) -> StorageError {
    StorageError::Folder { attempted: "ask for", name: String::new(), error }
}

async fn body_of(file: &File, bytes: u64) -> io::Result<ByteStream> {
    let mut file = file.try_clone()?;
    file.rewind()?;
    let file = tokio::fs::File::from_std(file);
    let body = ByteStream::read_from().file(file).length(Length::Exact(bytes)).build().await;
    body.map_err(io::Error::other)
}

/// Whether the bucket says that something stands under the name, or is being put there.
fn is_taken<E>(error: &SdkError<E, HttpResponse>) -> bool {
    error.raw_response().is_some_and(|reply| reply.status().as_u16() == 412)
}

fn cut_off(call: &'static str) -> CallError {
    CallError { call, fault: Fault::Connection, status: None }
}

impl caller::Client for Client {
    const EXPIRED: &'static str = "S3 says that the credentials have expired: asking for new ones";
    const SILENT: &'static str = "S3 does not answer: making new connections";

    fn with_nothing_cached(&self) -> Self {
        Self::from_conf(self.config().to_builder().identity_cache(IdentityCache::lazy().build()).build())
    }
}

/// A client that repeats nothing by itself.
fn caller(aws: &SdkConfig, endpoint: Option<String>) -> Caller<Client> {
    let deadlines = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(TRANSFER_DEADLINE)
        .operation_timeout(TRANSFER_DEADLINE)
        .build();
    let clock = ServerClock::default();
    let mut config = Builder::from(aws)
        .retry_config(RetryConfig::disabled())
        .timeout_config(deadlines)
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(CONNECT_TIMEOUT * 10).build())
        .interceptor(clock.clone())
        // Servers other than Amazon's have no names of hosts for buckets.
        .force_path_style(endpoint.is_some());
    config.set_endpoint_url(endpoint);
    Caller::new(Client::from_conf(config.build()), clock)
}
