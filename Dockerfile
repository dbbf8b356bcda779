# syntax=docker/dockerfile:1

# Builds Turnstile and puts nothing but the program into the image. Two targets: `loader`, which is the default, has every
# command of a production; `local-queue` has the demo and the local SQS server too, and is no image for production.

FROM rust:1.95-bookworm AS source
WORKDIR /build
COPY . .
# There is no repository here to ask: docker build --build-arg TURNSTILE_COMMIT=$(git rev-parse --short=12 HEAD)
ARG TURNSTILE_COMMIT=unknown

# The caches keep the crates and what was built of them: a change of ours compiles our own crates only.
FROM source AS build-loader
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/build/target,sharing=locked \
    cargo build --release --locked --no-default-features --bin turnstile \
    && install -D --strip target/release/turnstile /out/turnstile

FROM source AS build-local-queue
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/build/target,sharing=locked \
    cargo build --release --locked --bin turnstile \
    && install -D --strip target/release/turnstile /out/turnstile

FROM debian:bookworm-slim AS base
# The certificates of the public authorities, for Amazon's and the database's TLS.
COPY --from=source /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
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
