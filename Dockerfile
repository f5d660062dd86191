# All programs that run in a cluster, statically linked, and nothing else. The manifests say which program a container
# starts. Built by `cargo xtask image`, which copies the programs into the build context.
FROM scratch
COPY ebb-* /
# The default user. The agent's manifest requests root with three capabilities; the other programs need no privileges.
USER 65532:65532
