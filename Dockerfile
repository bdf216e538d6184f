# docker build -t mmvs . && docker run --rm -it -v "$PWD/reports:/mmvs/reports" -v "$PWD/data:/mmvs/data" mmvs make report
# On a GPU: docker run --gpus all ...; the lock's torch brings CUDA with it, and runs on a CPU too.
FROM python:3.11-slim
RUN apt-get update && apt-get install --yes --no-install-recommends git make && rm -rf /var/lib/apt/lists/*
WORKDIR /mmvs
COPY requirements.lock pyproject.toml Makefile README.md LICENSE ./
COPY mmvs mmvs
RUN make .venv/.installed
COPY . .
ENV PATH=/mmvs/.venv/bin:$PATH
CMD ["mmvs", "--help"]
