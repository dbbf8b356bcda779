# Stands in for the image `postgres`: Debian's PostgreSQL, which takes the same variables.
FROM turnstile-stand-in:debian
RUN apt-get update --quiet \
    && apt-get install --yes --quiet --no-install-recommends postgresql \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner=postgres --group=postgres --mode=0700 /var/lib/postgresql/data \
    && install --directory --owner=postgres --group=postgres /run/postgresql
COPY postgres /usr/local/bin/stand-in-postgres
USER postgres
# A fast end, which does not wait for clients.
STOPSIGNAL SIGINT
ENTRYPOINT ["stand-in-postgres"]
