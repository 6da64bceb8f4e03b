"""Dockerfiles, by buildah in the sandbox: pinned bases, stages, the hand-over, the cache."""
import io
import tarfile

import pytest

from bench import EPOCH, busybox_files, make_tar

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"


def base_of(bench, **how):
    return bench.put_image("library/base", [make_tar(busybox_files())],
                           config={"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"]}, **how)


@pytest.mark.timeout(300)
def test_stages_and_bases(bench):
    base = base_of(bench)
    text = f"""# comment
ARG BASE={base['reference']}
from ${{BASE}} AS build
ARG COLOUR=red
RUN echo $COLOUR $(id -u) > /made && chown 33:44 /made
FROM {base['reference']}
COPY --from=build /made /made
COPY data /data/
RUN rm /bin/nc && echo hello \\
    # within
    > /hello
ENV X=y
LABEL a=b
CMD ["/bin/cat", "/made"]
"""
    job = dict(kind="dockerfile", dockerfile="sub/Dockerfile", bases=[base], args={"COLOUR": "blue"},
               test="grep -q 'blue 0' /made && [ $X = y ] && [ ! -e /bin/nc ] && [ $(cat /data/f) = 1 ]", labels={"l": "m"})
    context = {"sub/Dockerfile": text, "data/f": "1\n"}
    got = bench.run(context, **job).ok()
    manifest, config = bench.manifest(got), bench.config(got)
    assert "annotations" not in manifest and config["created"] == "2023-11-14T22:13:20Z"
    assert config["config"]["Labels"] == {"a": "b", "l": "m"}
    assert config["config"]["Cmd"] == ["/bin/cat", "/made"] and "X=y" in config["config"]["Env"]
    assert config["architecture"] == "amd64"
    pinned = __import__("json").loads(bench.registry.raw("library/base", base["digest"])[0])
    assert manifest["layers"][0]["digest"] == pinned["layers"][0]["digest"]  # the base's own blob
    names = [name for n in range(1, len(got.layers)) for name in bench.layer(got, n)]
    assert "made" in names and "bin/.wh.nc" in names
    made = [bench.layer(got, n)["made"] for n in range(1, len(got.layers)) if "made" in bench.layer(got, n)][0]
    assert (made.uid, made.gid) == (33, 44) and made.mtime <= EPOCH
    # Again on the same board: out of the cache, and the same content.
    again = bench.run(context, **job).ok()
    assert again.content_digest == got.content_digest and "Using cache" in again.log
    fresh = bench.run(context, no_cache=True, **job).ok()
    assert fresh.content_digest == got.content_digest and "Using cache" not in fresh.log


@pytest.mark.timeout(200)
def test_the_context_is_filtered_once(bench):
    """The coordinator has left out what .dockerignore names: what a context holds is what the recipe gets."""
    context = {"Dockerfile": "FROM scratch\nCOPY . /\n", ".dockerignore": "kept\n", "kept": "1\n"}
    got = bench.run(context, kind="dockerfile", dockerfile="Dockerfile").ok()
    assert {"kept", ".dockerignore"} <= set(bench.layer(got, 0))


@pytest.mark.timeout(300)
def test_scratch_with_a_tarball_is_the_tarball(bench):
    """As docker-alpine's: owner, mode, link and xattr of every file survive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        with tarfile.open(fileobj=io.BytesIO(make_tar(busybox_files()))) as source:
            for m in source.getmembers():
                m.mtime = 1600000000
                tar.addfile(m, source.extractfile(m) if m.isreg() else None)
        for name, uid, gid, mode, kind in (("var/mail", 0, 12, 0o2775, tarfile.DIRTYPE), ("bin/su", 0, 0, 0o4711, tarfile.REGTYPE),
                                           ("home/u", 1000, 1001, 0o600, tarfile.REGTYPE)):
            info = tarfile.TarInfo(name)
            info.uid, info.gid, info.mode, info.type, info.mtime = uid, gid, mode, kind, 1600000000
            tar.addfile(info)
        info = tarfile.TarInfo("bin/capable")
        info.mode, info.pax_headers = 0o755, {"SCHILY.xattr.user.note": "kept"}
        tar.addfile(info)
        link = tarfile.TarInfo("bin/hard")
        link.type, link.linkname, link.mode = tarfile.LNKTYPE, "bin/su", 0o4711
        tar.addfile(link)
    context = {"Dockerfile": "FROM scratch\nADD root.tar.gz /\nCMD [\"/bin/sh\"]\n", "root.tar.gz": out.getvalue()}
    got = bench.run(context, kind="dockerfile", dockerfile="Dockerfile", test="ls -l /bin/su").ok()
    assert len(got.layers) == 1
    layer = bench.layer(got)
    assert (layer["var/mail"].gid, layer["var/mail"].mode) == (12, 0o2775)
    assert layer["bin/su"].mode == 0o4711 or layer["bin/hard"].mode == 0o4711
    assert (layer["home/u"].uid, layer["home/u"].gid, layer["home/u"].mode) == (1000, 1001, 0o600)
    assert layer["bin/sh"].linkname == "busybox"
    assert layer["bin/capable"].pax_headers.get("SCHILY.xattr.user.note") == "kept"


@pytest.mark.timeout(300)
def test_dockers_types_in_and_out(bench):
    base = base_of(bench, media=DOCKER)
    got = bench.run({"Dockerfile": f"FROM {base['reference']}\nRUN echo x > /x\n"}, kind="dockerfile", dockerfile="Dockerfile",
                    bases=[base], media_type="docker").ok()
    manifest = bench.manifest(got)
    assert got.manifest["media_type"] == manifest["mediaType"] == DOCKER
    assert {layer["mediaType"] for layer in manifest["layers"]} == {"application/vnd.docker.image.rootfs.diff.tar.gzip"}


@pytest.mark.timeout(300)
def test_failures_say_why(bench):
    base = base_of(bench)
    name = base["reference"]
    cases = [
        (f"FROM {name}\nRUN echo so sad && exit 4\n", "recipe", ["exit status 4"]),
        (f"FROM {name}\nCOPY missing /\n", "recipe", ["missing"]),
        ("FROM docker.io/library/debian:bookworm\n", "recipe", ["docker.io/library/debian:bookworm", "line 1"]),
        (f"FROM {name}\nRUN <<EOF\nls\nEOF\n", "recipe", ["line 2"]),
        (f"FROM {name}\nRUN " + "x" * 5000000 + "\n", "recipe", ["longer than"]),
        (f"FROM {name}\nRUN sleep 100\n", "timeout", ["still running"]),
    ]
    for text, kind, words in cases:
        got = bench.run({"Dockerfile": text}, kind="dockerfile", dockerfile="Dockerfile", bases=[base], timeout_ms=100000 if kind != "timeout" else 4000)
        assert (got.outcome, got.kind) == ("failed", kind), (text[:100], got.result)
        for word in words:
            assert word in got.reason, (text[:100], got.reason)
    got = bench.run({"x": ""}, kind="dockerfile", dockerfile="Dockerfile", bases=[base])
    assert got.kind == "recipe" and "Dockerfile" in got.reason


@pytest.mark.timeout(300)
def test_builder_reaches_nothing_of_the_board(bench):
    base = base_of(bench)
    text = f"""FROM {base['reference']}
RUN env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null; find / -name 'lease*' 2>/dev/null; true
RUN mount -t proc p /mnt && echo GOT$((6*7)); mknod /disk b 8 0 && echo GOT$((6*7)); echo x > /etc/made-by-recipe; true
"""
    got = bench.run({"Dockerfile": text}, kind="dockerfile", dockerfile="Dockerfile", bases=[base]).ok()
    secret = next(iter(bench.gateway.leases.values()))["secret"]
    assert "hunter2" not in got.log and secret not in got.log and "GOT42" not in got.log
