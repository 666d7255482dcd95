# The service as an image: one virtual environment on a plain Python, run by a user without rights.
# BASE_IMAGE may be any Debian with Python 3.11 to 3.13, its venv module and apt.
ARG BASE_IMAGE=python:3.13-slim-bookworm

FROM ${BASE_IMAGE} AS builder
WORKDIR /build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv tools && python3 -m venv --without-pip /opt/venv

# All that is ever downloaded, each file held against the lock's hashes, none of it run. Whoever installs through a mirror
# gives pip's own settings as a secret (`--secret id=pip,src=pip.conf`), which leaves no trace in the image.
COPY requirements-image.lock ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    tools/bin/python -m pip download --quiet --require-hashes --only-binary=:all: --dest wheels -r requirements-image.lock

# From those files alone: the build tools into one environment, the wheel of the service and what it needs into the other,
# with the extras, which do nothing unless set.
COPY pyproject.toml README.md ./
COPY email_service email_service
COPY migrations migrations
COPY templates templates
RUN tools/bin/python -m pip install --quiet --no-index --find-links=wheels hatchling \
    && tools/bin/python -m pip wheel --quiet --no-index --no-deps --no-build-isolation --wheel-dir=wheels . \
    && tools/bin/python -m pip --python=/opt/venv/bin/python install --quiet --no-index --find-links=wheels --no-compile \
        "email-service[otel,sentry]" \
    && /opt/venv/bin/python -I -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib \
    && /opt/venv/bin/python -I -c "from email_service.settings import resource as r; import sys; \
sys.exit(not all((r(name) / probe).exists() for name, probe in (('templates', 'email'), ('migrations', 'env.py'))))"

FROM ${BASE_IMAGE}
# tini gives signals their ordinary meaning in process 1 and collects orphans.
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends tini >/dev/null \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log \
    && groupadd --gid 10001 app \
    && useradd --uid 10001 --gid app --home-dir /srv --no-create-home --shell /usr/sbin/nologin app \
    && install --directory --owner=app --group=app --mode=0700 /srv/var
COPY --from=builder /opt/venv /opt/venv

# The bytecode is compiled already, and nothing but /srv/var and /tmp has to be writable.
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /srv
VOLUME /srv/var
EXPOSE 8000
STOPSIGNAL SIGTERM
# Any answer below 500 is a sign of life: with TRUSTED_HOSTS set, a request for 127.0.0.1 is answered with 400.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import http.client as h, sys; c = h.HTTPConnection('127.0.0.1', 8000, timeout=3); c.request('GET', '/healthz'); sys.exit(c.getresponse().status >= 500)"]
ENTRYPOINT ["tini", "--", "email-service"]
CMD ["run", "--host", "0.0.0.0"]
