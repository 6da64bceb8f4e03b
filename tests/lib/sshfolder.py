"""Keys and known_hosts for the git worker."""
import os


def ssh_folder(path, server, key=None, known=None):
    """A folder with a key and known_hosts as the worker wants it."""
    os.makedirs(path, mode=0o700)
    with open(key or server.key, "rb") as f, open(os.open(path / "id_test", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as g:
        g.write(f.read())
    (path / "known_hosts").write_text(server.known_hosts() if known is None else known)
    return str(path)
