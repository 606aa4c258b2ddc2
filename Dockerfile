# Stage 1 builds the wheel, stage 2 installs it with what it needs, stage 3 keeps only the result.
FROM python:3.13-slim AS build
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.13-slim AS install
COPY --from=build /wheels /wheels
RUN python -m venv /opt/threadbridge \
    && wheel="$(ls /wheels/threadbridge-*.whl)" \
    && /opt/threadbridge/bin/pip install --no-cache-dir "threadbridge[all] @ file://$wheel"

FROM python:3.13-slim
RUN useradd --system --uid 10001 --create-home --home-dir /srv/threadbridge threadbridge \
    && install -d -o threadbridge -g threadbridge /srv/threadbridge/data
COPY --from=install /opt/threadbridge /opt/threadbridge
ENV PATH=/opt/threadbridge/bin:$PATH PYTHONUNBUFFERED=1 THREADBRIDGE__GATEWAY__HOST=0.0.0.0
USER threadbridge
WORKDIR /srv/threadbridge
VOLUME /srv/threadbridge/data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('THREADBRIDGE__GATEWAY__PORT', '8080')}/healthz\", timeout=4)"]
# The configuration is mounted: docker run -v ./config.toml:/srv/threadbridge/config.toml:ro -v data:/srv/threadbridge/data
ENTRYPOINT ["threadbridge"]
CMD ["serve", "--config", "config.toml", "--log-format", "json"]
