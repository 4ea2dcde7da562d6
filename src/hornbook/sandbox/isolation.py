"""The two ways to shut a process in: bubblewrap, and util-linux `unshare`. Only command lines; nothing runs here.

Both give a server the same world: its own mount, pid, network, IPC, UTS and user namespaces, no network but an
unconfigured loopback, no capabilities and no way to gain any, and a file system of the interpreter and the system's
shared libraries (read-only), /dev/null and /dev/urandom, and a small tmpfs at /tmp. There is no /proc, no home, no
/etc. Installed packages (`site-packages`), this project among them, are covered up.

As root the candidate becomes `nobody` first: the kernel exempts root from the limit on the number of processes.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

NOBODY = 65534
LIBRARY_DIRECTORIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
LOADER_CACHE = "/etc/ld.so.cache"  # where the loader finds libraries in directories it does not know by heart
DEVICES = ("/dev/null", "/dev/urandom")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STAGE = "/sys"  # where `unshare` builds the new root: exists everywhere, and nothing we need lies below it
ENVIRONMENT = {
    "PATH": SYSTEM_PATH,
    "HOME": "/tmp",  # noqa: S108 (the sandbox's own)
    "TMPDIR": "/tmp",  # noqa: S108
    "LANG": "C.UTF-8",
    "PYTHONUTF8": "1",
    "PYTHONHASHSEED": "0",  # the order of a set of strings must not change a verdict from run to run
}


@dataclass(frozen=True, slots=True)
class Backend:
    """A way to shut a process in, and the command line that starts the server inside."""

    name: str
    tool: str  # without which there is nothing to try
    command: Callable[[str, int], list[str]]  # server source, megabytes of scratch → argv
    isolated: bool = True


@dataclass(frozen=True, slots=True)
class View:
    """What of the host is seen inside, each at its own path."""

    python: str
    readable: tuple[str, ...]  # directories and files, read-only
    links: tuple[str, ...]  # symbolic links to recreate
    covered: tuple[str, ...]  # directories under `readable` that appear empty


def view_of_interpreter(tools: tuple[str, ...]) -> View:
    """The base interpreter of this process (not its virtual environment), the shared libraries, and the named tools."""
    python = os.path.realpath(sys._base_executable)  # type: ignore[attr-defined]
    wanted = [*LIBRARY_DIRECTORIES, f"{sys.base_prefix}/lib", f"{sys.base_prefix}/lib64"]
    links = tuple(path for path in LIBRARY_DIRECTORIES if Path(path).is_symlink())
    directories = [path for path in dict.fromkeys(wanted) if Path(path).is_dir() and path not in links]
    covered = [
        str(path)
        for directory in directories
        for pattern in ("python*/site-packages", "python*/dist-packages")
        for path in sorted(Path(directory).glob(pattern))
        if not path.is_symlink()
    ]
    files = [python, *(path for path in (LOADER_CACHE, *map(find_tool, tools)) if Path(path).exists())]
    inside = tuple(f"{directory}/" for directory in directories)
    files = [path for path in dict.fromkeys(files) if not path.startswith(inside)]
    return View(python, (*directories, *files), links, tuple(covered))


def find_tool(name: str) -> str:
    """The real path of a system tool; its bare name where there is none."""
    found = shutil.which(name, path=SYSTEM_PATH)
    return os.path.realpath(found) if found else name


def python_command(view: View, source: str) -> list[str]:
    """The server's command: no site, no user packages, no current directory on the path, no bytecode written."""
    return [view.python, "-s", "-S", "-P", "-B", "-c", source]


def _shed() -> list[str]:
    """Give up root, all capabilities and the means to regain them, then enter a user namespace of one's own."""
    identity = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
    shed = ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
    return [find_tool("setpriv"), *identity, *shed, "--", find_tool("unshare"), "--user", "--"]


def bare_command(source: str, scratch_mb: int) -> list[str]:
    """The server as a process like any other: limits and nothing else."""
    return python_command(view_of_interpreter(()), source)


def bubblewrap_command(source: str, scratch_mb: int) -> list[str]:
    """The server under `bwrap`: as root without a user namespace of bwrap's, as a user with one."""
    as_root = os.geteuid() == 0
    view = view_of_interpreter(("setpriv", "unshare") if as_root else ())
    command = [find_tool("bwrap"), "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    command += ["--as-pid-1", "--die-with-parent", "--new-session", "--clearenv"]
    for name, value in ENVIRONMENT.items():
        command += ["--setenv", name, value]
    parents = {str(parent): None for path in (*view.readable, *DEVICES) for parent in reversed(Path(path).parents[:-1])}
    for path in parents:  # made by bwrap itself they would be open to root alone
        command += ["--perms", "0755", "--dir", path]
    for path in view.readable:
        command += ["--ro-bind", path, path]
    for path in view.links:
        command += ["--symlink", str(Path(path).readlink()), path]
    for path in view.covered:
        command += ["--tmpfs", path, "--remount-ro", path]
    for path in DEVICES:
        command += ["--dev-bind", path, path]
    command += ["--perms", "1777", "--size", str(scratch_mb << 20), "--tmpfs", "/tmp", "--remount-ro", "/"]  # noqa: S108
    if as_root:
        command += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        return [*command, "--cap-add", "CAP_SETPCAP", "--", *_shed(), *python_command(view, source)]
    return [*command, "--unshare-user", "--uid", str(NOBODY), "--gid", str(NOBODY), "--", *python_command(view, source)]


def unshare_command(source: str, scratch_mb: int) -> list[str]:
    """The server under `unshare`, with `mount` and `pivot_root` building what bubblewrap builds."""
    view = view_of_interpreter(("setpriv", "unshare"))
    lines = ["set -eu", f"mount -t tmpfs -o size=256k,mode=755,nosuid,nodev tmpfs {STAGE}", f"cd {STAGE}"]
    for path in view.readable:
        lines += _place(path) + _bind(path) + _protect(path)
    for path in view.links:
        lines.append(f"ln -s {shlex.quote(str(Path(path).readlink()))} {shlex.quote('.' + path)}")
    for path in view.covered:
        lines.append(f"mount -t tmpfs -o ro,size=4k,nosuid,nodev tmpfs {shlex.quote('.' + path)}")
    for path in DEVICES:
        lines += _place(path) + _bind(path)
    scratch = f"size={scratch_mb}m,nr_inodes=4k,mode=1777,nosuid,nodev"
    lines += [
        "mkdir tmp outside",
        "ln -s outside/proc proc",
        f"mount -t tmpfs -o {scratch} tmpfs tmp",
        "mount -o remount,bind,ro,nosuid,nodev .",
    ]
    # The old root lends `umount`, and the /proc that `umount` reads, for its own removal; then nothing of it is left.
    lines += ["pivot_root . outside", "cd /", f"PATH={_below('/outside')}", "umount -n -l /outside"]
    lines.append("exec " + shlex.join([*_shed(), *python_command(view, source)]))
    namespaces = ["--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child"]
    users = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return [find_tool("unshare"), *users, *namespaces, "--", "/bin/sh", "-c", "\n".join(lines)]


def _below(root: str) -> str:
    return ":".join(root + part for part in SYSTEM_PATH.split(":"))


def _place(path: str) -> list[str]:
    """Commands that make a mount point for `path` under the new root."""
    here = shlex.quote("." + path)
    if Path(path).is_dir():
        return [f"mkdir -p {here}"]
    return [f"mkdir -p {shlex.quote(f'.{Path(path).parent}')}", f": > {here}"]


def _bind(path: str) -> list[str]:
    """Commands that show `path` under the new root."""
    return [f"mount --rbind {shlex.quote(path)} {shlex.quote('.' + path)}"]


def _protect(path: str) -> list[str]:
    """Commands that make a bound `path` read-only, keeping the mount flags a user namespace may not lift."""
    flags = os.statvfs(path).f_flag
    kept = [(os.ST_NOEXEC, "noexec"), (os.ST_NOATIME, "noatime"), (os.ST_NODIRATIME, "nodiratime")]
    options = ["remount", "bind", "ro", "nosuid", "nodev", *(name for flag, name in kept if flags & flag)]
    return [f"mount -o {','.join(options)} {shlex.quote('.' + path)}"]


BACKENDS = (
    Backend("bubblewrap", "bwrap", bubblewrap_command),
    Backend("unshare", "unshare", unshare_command),
)
UNSAFE = Backend("none (unsafe)", "env", bare_command, isolated=False)  # only where a person asks for it
