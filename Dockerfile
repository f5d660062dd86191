# All programs that run in a cluster, static, and nothing else: the manifests say which one a container starts.
# Built by `cargo xtask image`, which puts the programs into the context.
FROM scratch
COPY ebb-* /
# The agent's manifest asks for root, with three capabilities; nothing else needs any.
USER 65532:65532
