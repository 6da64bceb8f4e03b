"""Programs that nobody here wrote, looking at what was published: skopeo, buildah, docker."""
import json
import os

from procs import free_port, run, wait_for


def skopeo_raw(registry, repository, tag):
    """The index, as skopeo inspect --raw prints it."""
    return json.loads(run(["skopeo", "inspect", "--raw", "--tls-verify=false",
                           f"docker://{registry.host}/{repository}:{tag}"]).stdout)


def skopeo_copy_all(farm, registry, repository, tag):
    """Copies every platform into an OCI layout, each digest checked; returns the layout's folder."""
    target = farm.path(f"copy-{repository.replace('/', '-')}-{tag}-{free_port()}")
    run(["skopeo", "copy", "--all", "-q", "--src-tls-verify=false", f"docker://{registry.host}/{repository}:{tag}",
         f"oci:{target}:{tag}"], timeout=300)
    return target


class Storage:
    """buildah's storage, in a folder of the test."""

    def __init__(self, farm):
        self.args = ["--root", farm.path("containers/root"), "--runroot", farm.path("containers/run"),
                     "--storage-driver", "vfs"]
        self.env = {**os.environ, **farm.env}

    def pull(self, registry, repository, tag, platform):
        """buildah pulls one platform; returns what it knows of the image."""
        name = f"{registry.host}/{repository}:{tag}"
        image = run(["buildah", *self.args, "pull", "-q", "--tls-verify=false", "--policy=always", "--platform", platform, name],
                    timeout=300, env=self.env).stdout.strip()
        return json.loads(run(["buildah", *self.args, "inspect", "--type=image", image], env=self.env).stdout)

    def run(self, registry, repository, tag, command, platform=None):
        """buildah pulls, and runs a command in a container of its own; returns the output."""
        name = f"{registry.host}/{repository}:{tag}"
        extra = ["--platform", platform] if platform else []
        made = run(["buildah", *self.args, "from", "-q", "--pull-always", "--tls-verify=false", *extra, name], timeout=300,
                   env=self.env).stdout.strip()
        try:
            return run(["buildah", *self.args, "run", "--isolation=chroot", made, "--", *command], timeout=300,
                       env=self.env).stdout
        finally:
            run(["buildah", *self.args, "rm", made], env=self.env)


class Docker:
    """Debian's dockerd, with everything of it in a folder of the test."""

    def __init__(self, farm):
        self.farm, self.socket = farm, farm.path("docker.sock")
        self.process = farm.process("dockerd", [
            "dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs",
            "--data-root", farm.path("docker/data"), "--exec-root", farm.path("docker/exec"),
            "--pidfile", farm.path("docker.pid"), "-H", f"unix://{self.socket}"])
        wait_for(lambda: self.docker("version", check=False).returncode == 0, 180, "dockerd", alive=[self.process])

    def docker(self, *args, check=True, timeout=300):
        return run(["/usr/bin/docker", "-H", f"unix://{self.socket}", *args], check=check, timeout=timeout)

    def pull(self, registry, repository, tag, platform):
        """Pulls one platform; returns what docker inspect says of it."""
        name = f"{registry.host}/{repository}:{tag}"
        self.docker("pull", "-q", "--platform", platform, name)
        return json.loads(self.docker("image", "inspect", name).stdout)[0]

    def run(self, registry, repository, tag, command, platform="linux/amd64"):
        """Runs a command in a container without a network."""
        name = f"{registry.host}/{repository}:{tag}"
        return self.docker("run", "--rm", "--network=none", "--platform", platform, name, *command).stdout
