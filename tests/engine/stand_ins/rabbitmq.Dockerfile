# Debian's RabbitMQ, which reads RABBITMQ_DEFAULT_USER and RABBITMQ_DEFAULT_PASS itself.
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
# Its package wants to start the server; nothing may be started in a build.
RUN printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d \
    && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends rabbitmq-server >/dev/null \
    && chmod 1777 /var/lib/rabbitmq
ENV PATH=/usr/lib/rabbitmq/bin:$PATH HOME=/var/lib/rabbitmq RABBITMQ_LOGS=- RABBITMQ_ENABLED_PLUGINS_FILE=/tmp/plugins
CMD ["rabbitmq-server"]
