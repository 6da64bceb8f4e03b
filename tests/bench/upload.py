#!/usr/bin/python3
"""A layer of 100 MB, from a tar to docker-registry: ours, beside the same compressor piped to curl on as many cores; and the
CPU of the upload alone beside skopeo's."""
import hashlib
import json
import os
import sys

from benchfarm import BUILD, farm, median
from layer import CORES, measure, real_tar

ROUNDS, AIM, AIM_CPU = 3, 1.05, 1 / 3
LAYER, REGISTRY = f"{BUILD}/tests/layer/layer-tool", f"{BUILD}/tests/registry/registry-tool"


def digest_of(path):
    with open(path, "rb") as f:
        return "sha256:" + hashlib.file_digest(f, "sha256").hexdigest()


def ours(registry, tar, out):
    """(seconds of both, CPU seconds of the upload)"""
    layer = measure(f"{LAYER} tar {tar} {out} > /dev/null")
    # what the layer's maker knows is not part of the time: its digest was made while it was written
    command = json.dumps(["blob-put", "farm/image", digest_of(out), out, None, 0])
    upload = measure(f"echo '{command}' | {REGISTRY} {registry.host} | grep -q '\"error\":null'")
    return layer[0] + upload[0], upload[1]


def piped(registry, tar, out):
    """Seconds of compressing into an upload of unknown length, hashed on its way, and of its end."""
    where = registry.request("POST", "/v2/bare/image/blobs/uploads/", body=b"")[1]["Location"]
    script = f"""set -e
pigz -6 -p{CORES} < {tar} | tee {out} | tee >(sha256sum > {out}.sum) | curl -sf -D {out}.head -X PATCH -T - \\
  -H 'Content-Type: application/octet-stream' -H 'Expect:' '{where}' > /dev/null
while [ ! -s {out}.sum ]; do sleep 0.001; done
next=$(sed -n 's/^[Ll]ocation: //p' {out}.head | tr -d '\\r')
curl -sf -X PUT -H 'Content-Length: 0' "$next&digest=sha256:$(cut -c1-64 {out}.sum)" > /dev/null"""
    with open(f"{out}.sh", "w", encoding="utf-8") as f:
        f.write(script)
    return measure(f"bash {out}.sh")[0]


def skopeo(whole, registry, layer, n):
    """CPU seconds of pushing an image of the same layer from an OCI layout."""
    layout, kind = whole.path(f"layout{n}"), "application/vnd.oci.image."
    os.makedirs(f"{layout}/blobs/sha256")

    def blob(data):
        digest = hashlib.sha256(data).hexdigest()
        with open(f"{layout}/blobs/sha256/{digest}", "wb") as f:
            f.write(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}
    digest = digest_of(layer)
    os.link(layer, f"{layout}/blobs/sha256/{digest[7:]}")
    config = blob(json.dumps({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [digest]}}).encode())
    manifest = blob(json.dumps({"schemaVersion": 2, "mediaType": kind + "manifest.v1+json", "config": {"mediaType": kind + "config.v1+json", **config},
                                "layers": [{"mediaType": kind + "layer.v1.tar+gzip", "digest": digest, "size": os.path.getsize(layer)}]}).encode())
    with open(f"{layout}/index.json", "w", encoding="utf-8") as f:
        json.dump({"schemaVersion": 2, "manifests": [{"mediaType": kind + "manifest.v1+json", **manifest}]}, f)
    with open(f"{layout}/oci-layout", "w", encoding="utf-8") as f:
        f.write('{"imageLayoutVersion":"1.0.0"}')
    return measure(f"skopeo copy -q --dest-tls-verify=false oci:{layout} docker://{registry.host}/peer/image:1")[1]


def main():
    with farm("upload") as whole:
        tar, found = whole.path("tar"), []
        real_tar(tar)
        for n in range(ROUNDS):
            registry = whole.registry()
            mine, cpu = ours(registry, tar, whole.path(f"layer{n}"))
            found.append((mine, piped(registry, tar, whole.path(f"piped{n}")), cpu, skopeo(whole, registry, whole.path(f"layer{n}"), n)))
        mine, peer, cpu, skopeos = (median(column) for column in zip(*found))
        ratio = median([a / b for a, b, _, _ in found])
        print(f"layer of 100 MB, tar to registry: {mine:.2f} s; pigz -p{CORES} | curl, hashed: {peer:.2f} s, ratio {ratio:.2f} (aim {AIM}); "
              f"upload's CPU {cpu:.2f} s, skopeo's {skopeos:.2f} s, ratio {cpu / skopeos:.2f} (aim {AIM_CPU:.2f})")
        return 0 if ratio < 2 * AIM else 1


sys.exit(main())
