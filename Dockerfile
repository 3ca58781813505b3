# A slim image that runs offline and as an ordinary user: the weights are inside the package.
#
#   docker build --tag rar .
#   docker run --rm --network none --user "$(id -u):$(id -g)" --volume "$PWD:/photos" rar restore scans restored
#
# TORCH_BACKEND: cpu (default), cu128, ... or auto, as uv names PyTorch's builds.
FROM python:3.13-slim AS build
ARG TORCH_BACKEND=cpu
RUN pip install --no-cache-dir uv
WORKDIR /source
COPY . .
RUN uv venv /opt/rar && \
    uv pip install --no-cache --python /opt/rar/bin/python --torch-backend "$TORCH_BACKEND" .

FROM python:3.13-slim
COPY --from=build /opt/rar /opt/rar
# Nothing is fetched; caches go where any user may write.
ENV PATH=/opt/rar/bin:$PATH HF_HUB_OFFLINE=1 XDG_CACHE_HOME=/tmp/cache
RUN useradd --create-home rar
USER rar
WORKDIR /photos
ENTRYPOINT ["rar"]
CMD ["--help"]
