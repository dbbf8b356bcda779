# syntax=docker/dockerfile:1

# Builds Turnstile and puts nothing but the program into the image. One image serves every command: `run`,
# `local-queue`, `migrate`, `keys` and the others.

FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY . .
# The caches keep the crates and what was built of them: a change of ours compiles our own crate only.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/build/target,sharing=locked \
    cargo build --release --locked --bin turnstile \
    && install -D --strip target/release/turnstile /out/turnstile

FROM debian:bookworm-slim
# The certificates of the public authorities, for Amazon's and the database's TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/turnstile /usr/local/bin/turnstile
# /var/lib/turnstile is where a keyring can be mounted or made; nothing else is written.
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin turnstile \
    && install --directory --owner=turnstile --group=turnstile --mode=0700 /var/lib/turnstile
USER 10001
WORKDIR /var/lib/turnstile
ENTRYPOINT ["/usr/local/bin/turnstile"]
CMD ["--help"]
