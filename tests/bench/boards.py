"""One board without an agent, that answers each lease with what it was told."""
import http.client
import json

from procs import Failed

FACTS = {"emulated": [], "slots": 16, "cpus": 4, "memory": 4 << 30, "machine": "x86_64", "kernel": "6.1", "page_size": 4096,
         "kinds": ["rootfs", "dockerfile"], "builders": {"buildah": "1.28.2"}, "sandbox": ["userns"], "labels": []}
TIMINGS = dict.fromkeys(["context", "pull", "recipe", "layer", "test", "push"], 1)


class Board:
    def __init__(self, coordinator, name, platforms):
        out = coordinator.farm.path(f"{name}.secret")
        coordinator.ctl("boards", "add", name, "--secret-file", out)
        with open(out, encoding="utf-8") as f:
            self.secret = f.read().strip()
        self.conn = http.client.HTTPConnection("127.0.0.1", coordinator.agents_port, timeout=60)
        self.seq, self.slots = 0, 16
        self.session = self.call("/v1/agent/session", self.secret, {"agent": "bench", "boot": "b", "held": [],
                                                                    "facts": {**FACTS, "platforms": list(platforms)}})["session"]

    def call(self, path, secret, body):
        self.conn.request("POST", path, json.dumps({"version": 1, **body}), {"Authorization": f"Bearer {secret}"})
        answer = self.conn.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise Failed(f"{path}: {answer.status} {text[:300]!r}")
        return json.loads(text)

    def poll(self, held=()):
        self.seq += 1
        return self.call("/v1/agent/poll", self.secret, {
            "session": self.session, "seq": self.seq, "held": [{"lease": x["lease"], "epoch": x["epoch"], "state": "running"} for x in held],
            "free": self.slots - len(held), "load": 0.1, "temperature": None, "disk_free": 100 << 30, "memory_free": 2 << 30, "draining": False})["leases"]

    def build(self, outputs):
        """Takes a lease for each platform of `outputs` ({platform: {digest, size, config}}), then answers them all."""
        held = []
        while len(held) < len(outputs):
            held += self.poll(held)
        for lease in held:
            out = outputs[lease["job"]["platform"]]
            self.call(f"/v1/agent/leases/{lease['lease']}/result", lease["secret"], {
                "epoch": lease["epoch"], "outcome": "succeeded", "kind": None, "reason": None,
                "manifest": {"digest": out["digest"], "size": out["size"], "media_type": "application/vnd.oci.image.manifest.v1+json"},
                "config_digest": out["config"], "content_digest": out["digest"], "layers": [], "timings": TIMINGS, "packages": [],
                "build_root": None, "log_size": 0, "reused_previous": False})
