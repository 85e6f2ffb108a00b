FROM python:3.12-slim

# libgomp: torch's threads
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*

WORKDIR /srv/chromaroute
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY models models
COPY app app
RUN pip install --no-cache-dir --constraint constraints.txt --extra-index-url https://download.pytorch.org/whl/cpu . \
    && useradd --create-home chromaroute

USER chromaroute
WORKDIR /home/chromaroute
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=3s --start-period=30s \
    CMD python -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"
CMD ["chromaroute", "serve", "--host", "0.0.0.0", "--port", "8000"]
