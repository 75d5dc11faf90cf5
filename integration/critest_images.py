"""The images that critest asks for, under its own names, made of Debian's busybox: what its tests look at is there."""
import subprocess

import image

CRI_TOOLS = "k8s-staging-cri-tools"
E2E = "e2e-test-images"
USERS = "default-user:x:1000:1000::/:/bin/sh\nwww-data:x:33:33::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"
GROUPS = "default-user:x:1000:\nwww-data:x:33:\nnobody:x:65534:\ngroup-defined-in-image:x:50000:default-user\n"
# Debian's busybox lacks these two.
IPCS = "#!/bin/sh\nexec cat /proc/sysvipc/shm\n"
PGREP = """#!/bin/sh
found=1
for comm in /proc/[0-9]*/comm; do
    if [ "$(cat $comm 2>/dev/null)" = "$1" ]; then echo "$comm" | cut -d/ -f3; found=0; fi
done
exit $found
"""
# Has the traces of the real one that tests look for: a name, a file with its number, "master process" among its words, a page.
NGINX = """#!/bin/sh
echo $$ >/var/run/nginx.pid
trap 'exit 0' TERM QUIT
httpd -f -p "$1" -h /www &
wait
"""
HTTPD = ["/bin/sh", "-c", "echo httpd started; exec httpd -f -p 80 -h /www"]
ESCALATE = b"""#include <stdio.h>
#include <unistd.h>
int main(void) { printf("Effective uid: %d\\n", (int)geteuid()); return 0; }
"""
FILES = {
    "etc/passwd": (0o644, 0, "root:x:0:0:root:/root:/bin/sh\n" + USERS),
    "etc/group": (0o644, 0, "root:x:0:\n" + GROUPS),
    "bin/ipcs": (0o755, 0, IPCS),
    "bin/pgrep": (0o755, 0, PGREP),
    "bin/nginx": (0o755, 0, NGINX),
    "var": (0o755, 0, None),
    "var/run": (0o755, 0, None),
}


def fill(registry):
    """Adds every image that the tests name, but the one that is named by the digest of its content."""
    root = image.root_archive(FILES)
    shell = ["/bin/sh"]

    def add(name, command=shell, root=root, **config):
        repository, _, tag = name.partition(":")
        # An image of its own, whatever it has in common with others.
        config.setdefault("Labels", {"name": name})
        registry.add(repository, tag or "latest", image.oci_image(command, root, **config))

    add(f"{E2E}/busybox:1.29-2")
    add(f"{E2E}/nginx:1.14-2", ["/bin/nginx", "80", "master process"])
    add(f"{E2E}/httpd:2.4.39-4", HTTPD)
    add(f"{E2E}/nonewprivs:1.3", ["/bin/escalate"], image.root_archive({**FILES, "bin/escalate": (0o4755, 0, escalate())}))
    add(f"{CRI_TOOLS}/hostnet-nginx-amd64", ["/bin/nginx", "12003", "master process"])
    add("pause:3.9", image.PAUSE)
    add(f"{CRI_TOOLS}/test-image-predefined-group", User="1000")
    for name, user in (("uid", "1002"), ("username", "www-data"), ("uid-group", "1003:users"), ("username-group", "www-data:100")):
        add(f"{CRI_TOOLS}/test-image-user-{name}", User=user)
    for name in ("latest", "tag:test", "tag:all", "1", "2", "3"):
        add(f"{CRI_TOOLS}/test-image-{name}")
    for tag in "123":
        add(f"{CRI_TOOLS}/test-image-tags:{tag}", Labels={"name": "test-image-tags"})


def escalate():
    """Returns a static program that says who it is."""
    subprocess.run(["gcc", "-static", "-s", "-xc", "-", "-o", "/run/escalate"], input=ESCALATE, check=True)
    with open("/run/escalate", "rb") as file:
        return file.read()
