# syntax=docker/dockerfile:1
# posestudy with everything that trains, at the versions of requirements/constraints.txt. `docker compose build` makes it.
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
# xtcocotools is compiled against the numpy it runs with.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/posestudy
ENV PATH=/opt/posestudy/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_CONSTRAINT=/build/requirements/constraints.txt
WORKDIR /build
COPY requirements/ requirements/
# A further index for torch and torchvision. Empty: what pip finds by itself, a build that has CUDA and
# computes without a GPU as well. PyTorch's installation page names the indexes of smaller builds for the CPU alone and
# of those for another CUDA.
ARG TORCH_INDEX=
RUN pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} torch torchvision
RUN pip install --requirement requirements/runtime.txt
RUN pip install --no-deps --no-build-isolation --requirement requirements/mm.txt
COPY pyproject.toml README.md LICENSE ./
COPY platform/posestudy/ platform/posestudy/
COPY studies/posestudy_studies/ studies/posestudy_studies/
COPY runner/posestudy_runner/ runner/posestudy_runner/
COPY reports/posestudy_reports/ reports/posestudy_reports/
RUN pip install --no-build-isolation '.[postgres,gpu,server,albumentations]'

FROM python:${PYTHON}
COPY --from=build /opt/posestudy /opt/posestudy
# Any user may run it (`user:` in docker-compose.yml): what volumes are mounted on is open to all, as /tmp is.
RUN useradd --uid 1000 --create-home posestudy \
 && install --directory --mode 1777 /posestudy /posestudy/home /posestudy/cache /posestudy/artifacts
ENV PATH=/opt/posestudy/bin:$PATH \
    HOME=/tmp \
    USER=posestudy \
    POSESTUDY_HOME=/posestudy/home \
    XDG_CACHE_HOME=/posestudy/cache \
    XDG_CONFIG_HOME=/posestudy/cache \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MLFLOW_DISABLE_TELEMETRY=true
WORKDIR /posestudy
USER 1000:1000
STOPSIGNAL SIGTERM
ENTRYPOINT ["posestudy"]
CMD ["--help"]
