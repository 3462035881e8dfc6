# Steplog as an image: built from the tree as a Debian package, which a plain Debian 12 then installs.
#   docker build -t steplog .
#   docker run -p 8080:8080 -v steplog:/var/lib/steplog --env-file steplog.env \
#     -v "$PWD/credentials:/run/credentials:ro" steplog
# server/DEPLOY.md says more.
FROM debian:bookworm AS build
WORKDIR /steplog
COPY tools/install tools/install
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates dpkg-dev file && tools/install
COPY . .
RUN cmake --preset release -DSTEPLOG_TESTS=OFF && cmake --build --preset release --target package && \
    mkdir /package && mv build/steplog_*.deb /package/steplog.deb

FROM debian:bookworm-slim
COPY --from=build /package/steplog.deb /tmp/steplog.deb
COPY tools/package/healthcheck /usr/local/bin/steplog-healthcheck
RUN apt-get update && apt-get install -y --no-install-recommends /tmp/steplog.deb && \
    rm -rf /tmp/steplog.deb /var/lib/apt/lists/*
# Secrets are files in CREDENTIALS_DIRECTORY, each named like its setting.
ENV STEPLOG_DATABASE=/var/lib/steplog/steplog.db STEPLOG_LISTEN=0.0.0.0:8080 CREDENTIALS_DIRECTORY=/run/credentials
USER steplog
VOLUME /var/lib/steplog
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["steplog-healthcheck"]
ENTRYPOINT ["workflow-server"]
