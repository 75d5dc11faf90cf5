"""Debian roots from this machine's own mirror."""
import subprocess


def run(command, **more):
    return subprocess.run([str(word) for word in command], check=True, **more)


def said(*command):
    return run(command, stdout=subprocess.PIPE, text=True).stdout.strip()


def mirror():
    """Returns this machine's mirror of Debian and the name of its release."""
    targets = said("apt-get", "indextargets", "--format", "$(SITE) $(CODENAME)", "Created-By: Packages", "Label: Debian", "Component: main")
    if not targets:
        run(["apt-get", "update", "-q"])
        return mirror()
    return targets.splitlines()[0].split()
