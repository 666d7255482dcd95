# A machine that systemd has started, with what deploy/systemd asks for: Python, a PostgreSQL and a Redis of its own.
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
RUN printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d \
    && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        systemd systemd-sysv dbus sudo postgresql redis-server >/dev/null \
    && rm /usr/sbin/policy-rc.d
COPY start-machine /usr/local/bin/
STOPSIGNAL SIGRTMIN+3
CMD ["start-machine"]
