# Runs as a Hugging Face Space (Docker SDK) or anywhere: docker build -t neuromuse . && docker run -p 7860:7860 neuromuse
FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install -y --no-install-recommends musescore-general-soundfont-small \
    && rm -rf /var/lib/apt/lists/* \
    && pip install --no-cache-dir --disable-pip-version-check uv \
    && useradd --create-home --uid 1000 user

USER user
ENV HOME=/home/user \
    PATH=/home/user/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NEUROMUSE_HOST=0.0.0.0 \
    NEUROMUSE_PORT=7860 \
    GRADIO_ANALYTICS_ENABLED=False \
    GRADIO_TEMP_DIR=/tmp/gradio \
    XDG_CACHE_HOME=/tmp/cache \
    MPLCONFIGDIR=/tmp/cache/matplotlib \
    NUMBA_CACHE_DIR=/tmp/cache/numba \
    HF_HOME=/tmp/cache/huggingface \
    HF_HUB_OFFLINE=1
RUN mkdir /home/user/app
WORKDIR /home/user/app

# First the packages, which change rarely, then the code and its weights.
COPY --chown=user requirements.txt ./
RUN uv venv --quiet --python 3.11 .venv && uv pip sync --quiet --no-cache requirements.txt
COPY --chown=user . .

EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import json, urllib.request as u; assert json.load(u.urlopen('http://127.0.0.1:7860/healthz'))['live']"]
CMD ["python", "app.py"]
