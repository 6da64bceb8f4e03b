"""Reads images the way a client does, and judges them by the OCI image specification's own schemas."""
import gzip
import hashlib
import io
import json
import subprocess
import tarfile

import debian

SCHEMAS = {
    "application/vnd.oci.image.index.v1+json": "image-index-schema.json",
    "application/vnd.oci.image.manifest.v1+json": "image-manifest-schema.json",
    "application/vnd.oci.image.config.v1+json": "config-schema.json",
}


def _without_ids(schema):
    """A schema whose references go by file name: its ids would send them to the web."""
    if isinstance(schema, list):
        return [_without_ids(v) for v in schema]
    if not isinstance(schema, dict):
        return schema
    return {k: _without_ids(v) for k, v in schema.items() if not (k == "id" and isinstance(v, str))}


def schema_errors(value, media_type):
    """What the specification's schema finds wrong with an index, a manifest or a config; [] when nothing."""
    import jsonschema
    store = {}
    for name, path in debian.package_file("golang-github-opencontainers-image-spec-dev", ".json").items():
        with open(path, encoding="utf-8") as f:
            store[f"http://schema.invalid/{name}"] = _without_ids(json.load(f))
    base = f"http://schema.invalid/{SCHEMAS[media_type]}"
    resolver = jsonschema.RefResolver(base, store[base], store=store)
    return [e.message for e in jsonschema.Draft4Validator(store[base], resolver=resolver).iter_errors(value)]


def uncompressed(data):
    """A layer's tar, whatever it is packed with."""
    if data[:2] == b"\x1f\x8b":
        return gzip.decompress(data)
    if data[:4] == b"\x28\xb5\x2f\xfd":
        return subprocess.run(["zstd", "-dc"], input=data, capture_output=True, check=True, timeout=300).stdout
    return data


def entry(tar, member):
    """What matters of one file: type, mode, owner, link, device, extended attributes, content."""
    kind = {tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "symlink", tarfile.LNKTYPE: "link", tarfile.CHRTYPE: "char",
            tarfile.BLKTYPE: "block", tarfile.FIFOTYPE: "fifo"}.get(member.type, "file")
    xattrs = {k[len("SCHILY.xattr."):]: v for k, v in member.pax_headers.items() if k.startswith("SCHILY.xattr.")}
    content = None
    if kind == "file":
        digest = hashlib.sha256()
        source = tar.extractfile(member)
        while piece := source.read(1 << 20):
            digest.update(piece)
        content = (member.size, digest.hexdigest())
    device = (member.devmajor, member.devminor) if kind in ("char", "block") else None
    return {"type": kind, "mode": member.mode & 0o7777, "owner": (member.uid, member.gid),
            "link": member.linkname.lstrip("/").removeprefix("./") if kind == "link" else member.linkname,
            "device": device, "xattrs": xattrs, "content": content}


def clean(name):
    """A member's path from the root, without dots and slashes around it."""
    return "/".join(p for p in name.split("/") if p not in ("", "."))


def tar_tree(data):
    """{path: entry} of a tar."""
    with tarfile.open(fileobj=io.BytesIO(uncompressed(data)), mode="r:") as tar:
        return {clean(m.name): entry(tar, m) for m in tar if clean(m.name)}


def one_file(tree):
    """The same tree with each hard-linked set as what it is: one file of several names, none of them first."""
    first = {p: e["link"] if e["type"] == "link" else p for p, e in tree.items() if e["type"] in ("link", "file")}
    names = {}
    for path, of in first.items():
        names.setdefault(of, []).append(path)
    return {p: {**tree[first[p]], "names": sorted(names[first[p]])} if p in first and first[p] in tree else e
            for p, e in tree.items()}


def root_tree(registry, repository, tag, platform):
    """{path: entry} of an image's root file system: its layers on top of each other, whiteouts applied."""
    manifest, _ = registry.image(repository, tag, platform)
    tree = {}
    for layer in manifest["layers"]:
        for path, what in tar_tree(registry.blob(repository, layer["digest"])).items():
            folder, _, name = path.rpartition("/")
            if name == ".wh..wh..opq":
                tree = {p: e for p, e in tree.items() if not p.startswith(folder + "/")}
            elif name.startswith(".wh."):
                gone = (folder + "/" if folder else "") + name[4:]
                tree = {p: e for p, e in tree.items() if p != gone and not p.startswith(gone + "/")}
            else:
                tree[path] = what
    return tree


def differences(left, right):
    """How two trees differ, in words; [] when they are the same."""
    left, right = one_file(left), one_file(right)
    said = [f"only left: {p}" for p in sorted(left.keys() - right.keys())]
    said += [f"only right: {p}" for p in sorted(right.keys() - left.keys())]
    for path in sorted(left.keys() & right.keys()):
        said += [f"{path}: {k}: {left[path][k]} and {right[path][k]}" for k in left[path] if left[path][k] != right[path][k]]
    return said


def file_content(registry, repository, tag, platform, path):
    """The bytes of one regular file of an image; None where there is none."""
    manifest, _ = registry.image(repository, tag, platform)
    for layer in reversed(manifest["layers"]):
        data = uncompressed(registry.blob(repository, layer["digest"]))
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for member in tar:
                if clean(member.name) == clean(path) and member.isfile():
                    return tar.extractfile(member).read()
    return None
