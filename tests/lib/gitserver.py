"""Real git servers, and upstream repositories made from dicts of files."""
import os
import shutil

from procs import Process, Failed, free_port, listening, run, wait_for

EPOCH = 1700000000  # the first commit's time; each further one is a minute later
WHO = "Up Stream <up@stream.invalid>"
ENV = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0"}
GIT_DAEMON = "/usr/lib/git-core/git-daemon"


class Exec(str):
    """The text of an executable file."""


class Link(str):
    """The target of a symbolic link."""


def _mode(value):
    if isinstance(value, Link):
        return "120000"
    return "100755" if isinstance(value, Exec) else "100644"


class Upstream:
    """One bare repository, written to without a work tree."""

    def __init__(self, path, server):
        self.path, self.name, self.server = path, os.path.basename(path)[:-len(".git")], server
        self.clock = EPOCH
        self.git("init", "--quiet", "--bare", "--initial-branch=master", path, inside=False)

    def git(self, *args, inside=True, **how):
        """Runs git on this repository; returns what it prints."""
        command = ["git", *(["-C", self.path] if inside else []), *args]
        return run(command, env={**os.environ, **ENV}, **how).stdout

    @property
    def url(self):
        """Where git daemon serves it."""
        return self.server.url(self)

    def head(self, ref="refs/heads/master"):
        """The commit that a ref names; None where there is no such ref."""
        out = self.git("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}", check=False)
        return out.strip() or None

    def commit(self, files, branch="master", message="a change", orphan=False, replace=False, date=None):
        """Commits files ({path: text, bytes, Exec or Link; None deletes}) and returns the commit's id.

        What is not named stays, unless `replace`. `orphan` starts a history of its own: for a branch that
        exists, a force-push."""
        ref = f"refs/heads/{branch}"
        date = self.clock = date or self.clock + 60
        parent = None if orphan else self.head(ref)
        lines = [b"reset %s\n\n" % ref.encode()] if not parent else []
        lines.append(f"commit {ref}\ncommitter {WHO} {date} +0000\ndata {len(message.encode())}\n{message}\n".encode())
        if parent:
            lines.append(f"from {parent}\n".encode())
        if replace:
            lines.append(b"deleteall\n")
        for path, value in files.items():
            if value is None:
                lines.append(f"D {path}\n".encode())
                continue
            data = value if isinstance(value, bytes) else str(value).encode()
            lines.append(f"M {_mode(value)} inline {path}\ndata {len(data)}\n".encode() + data + b"\n")
        self.git("fast-import", "--quiet", "--force", "--date-format=raw", input=b"".join(lines), text=False)
        return self.head(ref)

    def tag(self, name, commit=None, annotated=False):
        """Tags a commit (the head of master when none is given)."""
        commit = commit or self.head()
        if annotated:
            env = {**os.environ, **ENV, "GIT_COMMITTER_NAME": "Up", "GIT_COMMITTER_EMAIL": "up@stream.invalid",
                   "GIT_COMMITTER_DATE": f"{self.clock} +0000"}
            run(["git", "-C", self.path, "tag", "-f", "-a", "-m", name, name, commit], env=env)
        else:
            self.git("update-ref", f"refs/tags/{name}", commit)

    def delete(self, ref):
        """Deletes a ref by its full name."""
        self.git("update-ref", "-d", ref)

    def commit_tree(self, entries, branch="master", message="crafted"):
        """Commits a tree made entry by entry, of names that git itself refuses. entries: [(mode, name, oid)]."""
        raw = b"".join(f"{mode} ".encode() + name.encode() + b"\0" + bytes.fromhex(oid) for mode, name, oid in entries)
        tree = self.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", input=raw, text=False)
        self.clock += 60
        body = (f"tree {tree.decode().strip()}\nauthor {WHO} {self.clock} +0000\n"
                f"committer {WHO} {self.clock} +0000\n\n{message}\n").encode()
        commit = self.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", input=body, text=False)
        self.git("update-ref", f"refs/heads/{branch}", commit.decode().strip())
        return commit.decode().strip()

    def blob(self, data):
        """Writes a blob; returns its id."""
        return self.git("hash-object", "-w", "--stdin", input=data, text=False).decode().strip()

    def subtree(self, entries):
        """Writes a tree; returns its id. As commit_tree."""
        raw = b"".join(f"{mode} ".encode() + name.encode() + b"\0" + bytes.fromhex(oid) for mode, name, oid in entries)
        return self.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", input=raw, text=False).decode().strip()


class GitServer:
    """git daemon over a folder of bare repositories."""

    def __init__(self, folder, log, env=None, port=None):
        self.folder, self.port = folder, port or free_port()
        os.makedirs(folder)
        command = [GIT_DAEMON if os.path.exists(GIT_DAEMON) else "git-daemon", "--verbose", "--export-all", f"--base-path={folder}",
                   "--listen=127.0.0.1", f"--port={self.port}", "--reuseaddr", "--max-connections=64", folder]
        self.process = Process("git daemon", command, log, env={**ENV, **(env or {})})
        wait_for(lambda: listening(self.port), 60, "git daemon", alive=[self.process])

    def requests(self):
        """How many it was asked for so far."""
        return self.process.output().count("Request upload-pack")

    def repo(self, name):
        """Makes an empty upstream."""
        return Upstream(os.path.join(self.folder, name + ".git"), self)

    def url(self, upstream):
        return f"git://127.0.0.1:{self.port}/{upstream.name}.git"

    def stop(self):
        return self.process.stop()


class WebGit:
    """git http-backend behind lighttpd, serving another server's folder."""

    def __init__(self, folder, work, log, env=None):
        self.port = free_port()
        config = os.path.join(work, "lighttpd.conf")
        backend = "/usr/lib/git-core/git-http-backend"
        with open(config, "w", encoding="utf-8") as f:
            f.write(f'''server.document-root = "{folder}"
server.bind = "127.0.0.1"
server.port = {self.port}
server.modules = ("mod_alias", "mod_setenv", "mod_cgi")
server.upload-dirs = ("{work}")
alias.url += ("/git" => "{backend}")
cgi.assign = ("" => "")
setenv.set-environment = ("GIT_PROJECT_ROOT" => "{folder}", "GIT_HTTP_EXPORT_ALL" => "1",
  "GIT_CONFIG_NOSYSTEM" => "1", "GIT_CONFIG_COUNT" => "1", "GIT_CONFIG_KEY_0" => "safe.directory", "GIT_CONFIG_VALUE_0" => "*")
''')
        self.process = Process("lighttpd", ["/usr/sbin/lighttpd", "-D", "-f", config], log, env={**ENV, **(env or {})})
        wait_for(lambda: listening(self.port), 60, "lighttpd", alive=[self.process])

    def url(self, upstream):
        return f"http://127.0.0.1:{self.port}/git/{upstream.name}.git"

    def stop(self):
        return self.process.stop()


class SshGit:
    """sshd with ed25519 keys, serving another server's folder."""

    def __init__(self, folder, work, log, env=None):
        self.port, self.folder = free_port(), folder
        if not shutil.which("sshd", path="/usr/sbin"):
            raise Failed("sshd is not installed")
        os.makedirs(work, exist_ok=True)
        os.makedirs("/run/sshd", exist_ok=True)  # sshd's own chroot; it wants it there
        self.host_key, self.key = os.path.join(work, "host"), os.path.join(work, "user")
        for key in (self.host_key, self.key):
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
        shutil.copy(self.key + ".pub", os.path.join(work, "authorized"))
        config = os.path.join(work, "sshd_config")
        with open(config, "w", encoding="utf-8") as f:
            f.write(f'''ListenAddress 127.0.0.1:{self.port}
HostKey {self.host_key}
AuthorizedKeysFile {work}/authorized
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
''')
        self.process = Process("sshd", ["/usr/sbin/sshd", "-D", "-e", "-f", config], log, env=env)
        wait_for(lambda: listening(self.port), 60, "sshd", alive=[self.process])

    def known_hosts(self):
        """The line for a known_hosts file."""
        with open(self.host_key + ".pub", encoding="utf-8") as f:
            return f"[127.0.0.1]:{self.port} " + " ".join(f.read().split()[:2]) + "\n"

    def url(self, upstream):
        return f"ssh://root@127.0.0.1:{self.port}{self.folder}/{upstream.name}.git"

    def stop(self):
        return self.process.stop()
