# The web server of tunix-rt, as an ordinary user. Everything that it writes is in the volume /data.
FROM python:3.11-slim

WORKDIR /app
RUN useradd --uid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin tunix-rt \
    && install --directory --owner tunix-rt --group tunix-rt --mode 0750 /data
ENV PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1 PYTHONUNBUFFERED=1

# Before the code, so that a change of the code installs nothing again.
COPY requirements-uv.txt requirements.txt ./
COPY scripts/install scripts/uv_settings.py scripts/
RUN scripts/install requirements.txt
# Tunix is 1.6 GB: for those who ask for it, with TUNIX=1.
ARG TUNIX=
COPY requirements-tunix.txt ./
RUN if [ "${TUNIX:-0}" != 0 ]; then scripts/install requirements-tunix.txt .venv-tunix; fi

COPY . .
# What is collected is for its owner's eyes, and so is all code where a checkout was: here it is read by another user.
RUN TUNIX_RT_SECRET_KEY=build TUNIX_RT_HOME=/app/collected .venv/bin/python manage.py collectstatic --no-input --verbosity 0 \
    && find . -path './.venv*' -prune -o ! -type l -exec chmod a+rX {} +

ENV HOST=0.0.0.0 PORT=8000 TUNIX_RT_AUTH=required TUNIX_RT_HOME=/data
USER tunix-rt
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD [".venv/bin/python", "-c", \
    "import os, urllib.request as u; u.urlopen(f'http://localhost:{os.environ[\"PORT\"]}/healthz', timeout=3)"]
ENTRYPOINT ["scripts/docker_entrypoint"]
