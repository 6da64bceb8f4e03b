"""Arrows point down only: who may include what."""
import fnmatch
import re

import pytest
import tree

pytestmark = pytest.mark.quick

# A library's headers -> the only files that may include them. Everything else goes through those.
OWNERS = {
    "curl/": ["common/http_client*.c", "common/http_client_int.h"],
    "sqlite3.h": ["daemon/store*.c", "daemon/store_int.h"],
    "microhttpd.h": ["daemon/http_server*.c", "daemon/http_server_int.h"],
    "git2": ["daemon/git_worker*.c", "daemon/git_worker_int.h"],
    "yaml.h": ["daemon/config*.c", "daemon/config_int.h"],
    "archive": ["agent/*.c", "agent/*.h", "daemon/git_worker_archive.c"],
    "gnutls/": ["common/digest.c", "common/tls.c"],
}

# A folder -> the folders whose headers it may include. The longest match counts.
BELOW = {
    "common/": ["common/"],
    "daemon/model/": ["common/", "daemon/model/"],
    "daemon/": ["common/", "daemon/"],
    "agent/": ["common/", "agent/"],
    "ctl/": ["common/", "ctl/"],
}
GENERATED = {"sheaf-config.h"}

# The model decides; it does no I/O, and time is a parameter.
IMPURE_HEADERS = ["uv.h", "curl/", "sqlite3.h", "microhttpd.h", "git2", "yaml.h", "archive", "gnutls/", "systemd/",
                  "sys/socket.h", "sys/epoll.h", "sys/wait.h", "fcntl.h", "dirent.h", "netdb.h", "poll.h", "pthread.h",
                  "signal.h", "common/http_client.h", "common/registry.h", "common/clock.h", "common/subprocess.h"]
IMPURE_CALLS = re.compile(r"\b(fopen|open|openat|read|write|printf|fprintf|time|clock_gettime|gettimeofday|getenv|"
                          r"usleep|nanosleep|fork|system|popen|rand|random|getrandom|localtime|malloc_trim)\s*\(")


def starts(name, prefixes):
    """Whether an include name is one of these headers, or in one of these folders."""
    return any(name == p or name.startswith(p) for p in prefixes)


def strip(text):
    """C without its comments and strings."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    text = re.sub(r"//[^\n]*", " ", text)
    return re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)


def test_each_library_has_one_user():
    wrong = []
    for path in tree.product(".c", ".h"):
        for quoted, name in tree.includes(path):
            for header, owners in OWNERS.items():
                if not quoted and name.startswith(header) and not any(fnmatch.fnmatch(path, o) for o in owners):
                    wrong.append(f"{path}: <{name}> belongs to {' '.join(owners)}")
    assert not wrong, "\n".join(wrong)


def test_folders_include_only_what_is_below_them():
    wrong = []
    for path in tree.product(".c", ".h"):
        folder = max((b for b in BELOW if path.startswith(b)), key=len, default=None)
        if folder is None:
            continue
        for quoted, name in tree.includes(path):
            if quoted and name not in GENERATED and not starts(name, BELOW[folder]):
                wrong.append(f"{path}: \"{name}\" (only {' '.join(BELOW[folder])}, by its path from the root)")
    assert not wrong, "\n".join(wrong)


def test_the_model_is_pure():
    wrong = []
    for path in tree.product(".c", ".h"):
        if not path.startswith("daemon/model/"):
            continue
        wrong += [f"{path}: includes {name}" for _, name in tree.includes(path) if starts(name, IMPURE_HEADERS)]
        wrong += [f"{path}: calls {call}()" for call in IMPURE_CALLS.findall(strip(tree.read(path)))]
    assert not wrong, "\n".join(wrong)


def test_headers_form_no_cycle():
    graph = {h: [n for q, n in tree.includes(h) if q and n.endswith(".h")] for h in tree.product(".h")}
    done, trail = set(), []

    def visit(header):
        assert header not in trail, f"cycle: {' -> '.join(trail[trail.index(header):] + [header])}"
        if header in done or header not in graph:
            return
        trail.append(header)
        for below in graph[header]:
            visit(below)
        trail.pop()
        done.add(header)

    for header in graph:
        visit(header)
