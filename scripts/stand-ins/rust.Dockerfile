# Stands in for the image `rust`: this machine's Rust, a C compiler, and the crates of Cargo.lock, so that a build fetches
# nothing. scripts/base-images puts together what is copied here.
FROM turnstile-stand-in:debian
RUN apt-get update --quiet \
    && apt-get install --yes --quiet --no-install-recommends ca-certificates gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
ENV CARGO_HOME=/usr/local/cargo CARGO_NET_OFFLINE=true PATH=/usr/local/rust/bin:$PATH
COPY bin /usr/local/rust/bin
COPY lib /usr/local/rust/lib
COPY cargo /usr/local/cargo
