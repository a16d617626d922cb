# syntax=docker/dockerfile:1
# Touchline on Debian 12: the first stage builds the program and bakes the models, the second has what runs.

FROM rust:1.95-bookworm AS build
WORKDIR /touchline
# Changes rarely, so its layer is kept while the sources change.
COPY scripts/setup scripts/setup
RUN rustup component add rustfmt clippy && scripts/setup
COPY . .
RUN cargo build --release --locked -p touchline \
    && target/release/touchline models bake

FROM debian:12-slim
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends \
        ca-certificates curl fonts-dejavu-core fonts-noto-color-emoji \
        libavcodec59 libavdevice59 libavfilter8 libavformat59 libavutil57 libswresample4 libswscale6 libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --create-home --home-dir /var/lib/touchline touchline \
    && install -d -o touchline /var/lib/touchline/data
# The program looks for `models/` beside itself and in the folders above, so no variable names it.
COPY --from=build /touchline/target/release/touchline /opt/touchline/touchline
COPY --from=build /touchline/models/manifest.toml /opt/touchline/models/manifest.toml
COPY --from=build /touchline/models/weights /opt/touchline/models/weights
COPY --from=build /touchline/models/runtime /opt/touchline/models/runtime
RUN ln -s /opt/touchline/touchline /usr/local/bin/touchline

USER touchline
WORKDIR /var/lib/touchline
ENV TOUCHLINE__SERVER__LISTEN='"0.0.0.0:8080"' \
    TOUCHLINE__DATA_DIR='"/var/lib/touchline/data"'
VOLUME /var/lib/touchline/data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD curl -fsS http://127.0.0.1:8080/readyz
ENTRYPOINT ["touchline"]
CMD ["serve"]
