# Builds Turnstile and puts nothing but the program into the image. Two targets: `loader`, which is the default, has every
# command of a production; `local-queue` has the demo and the local SQS server too, and is no image for production.

FROM rust:1.95-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1 AS build-loader
WORKDIR /build
COPY . .
# There is no repository here to ask: docker build --build-arg TURNSTILE_COMMIT=$(git rev-parse --short=12 HEAD)
ARG TURNSTILE_COMMIT=unknown
# 0 to 3. A test of the image takes less, which is built sooner.
ARG CARGO_PROFILE_RELEASE_OPT_LEVEL=3
# The caches keep the crates and what was built of them: a change of ours compiles our own crates only.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/build/target,sharing=locked \
    cargo build --release --locked --no-default-features --features archive,console,top,traces --bin turnstile \
    && install -D --strip target/release/turnstile /out/turnstile

# On top of the other, so that what both are made of is compiled once, with or without caches.
FROM build-loader AS build-local-queue
ARG TURNSTILE_COMMIT=unknown
ARG CARGO_PROFILE_RELEASE_OPT_LEVEL=3
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/build/target,sharing=locked \
    cargo build --release --locked --bin turnstile \
    && install -D --strip target/release/turnstile /out/turnstile

FROM debian:bookworm-slim@sha256:3783cc01769c7b2b1b83a5c5ad96c815348e28ed7da68e2e3687004faa906251 AS base
# The certificates of the public authorities, for Amazon's and the database's TLS.
COPY --from=build-loader /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# /var/lib/turnstile is where a keyring can be mounted or made; nothing else is written.
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin turnstile \
    && install --directory --owner=turnstile --group=turnstile --mode=0700 /var/lib/turnstile
USER 10001
WORKDIR /var/lib/turnstile
ENTRYPOINT ["/usr/local/bin/turnstile"]
CMD ["--help"]

FROM base AS local-queue
COPY --from=build-local-queue /out/turnstile /usr/local/bin/turnstile

FROM base AS loader
COPY --from=build-loader /out/turnstile /usr/local/bin/turnstile
