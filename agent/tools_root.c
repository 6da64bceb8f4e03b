#include "agent/tools_root.h"

void tools_root_mounts(sandbox_mounts *mounts)
{
    static const char *const paths[] = {
        "/usr",
        "/bin",
        "/sbin",
        "/lib",
        "/lib32",
        "/lib64",
        "/libx32",
        "/etc/alternatives",
        "/etc/apt/keyrings",
        "/etc/apt/trusted.gpg",
        "/etc/apt/trusted.gpg.d",
        "/etc/ca-certificates",
        "/etc/debian_version",
        "/etc/dpkg",
        "/etc/group",
        "/etc/ld.so.cache",
        "/etc/ld.so.conf",
        "/etc/ld.so.conf.d",
        "/etc/nsswitch.conf",
        "/etc/passwd",
        "/etc/perl",
        "/etc/protocols",
        "/etc/services",
        "/etc/ssl/certs",
        "/etc/ssl/openssl.cnf",
    };
    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
        vec_push(mounts, (struct sandbox_mount){paths[i], paths[i], true});
}
