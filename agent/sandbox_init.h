/* The inner half of the sandbox: what runs in the new namespaces before the program does. It was cloned from
 * a process that may have had threads, so it allocates nothing; all that it needs is prepared before. */
#pragma once

#include "agent/sandbox.h"

#include <sys/types.h>

enum sandbox_report_kind {
    SANDBOX_REPORT_SETUP, /* `what` failed with errno `code`: nothing was run */
    SANDBOX_REPORT_DEVICES, /* init's descriptor `code` is sandbox_devices_install's; it waits for a byte */
    SANDBOX_REPORT_STARTED, /* everything is in place; `code` holds the CLONE_NEW… flags in force */
    SANDBOX_REPORT_EXEC,    /* the program could not be started: errno `code` */
    SANDBOX_REPORT_ENDED,   /* wait status `code` */
};

/* One message on the status pipe; smaller than PIPE_BUF, so never torn. */
struct sandbox_report {
    int32_t kind, code;
    char what[120];
};

struct sandbox_plan {
    const struct sandbox_spec *spec;
    char *resolv_conf, *hosts; /* contents; NULL: leave what is there */
    const char *overlay_options;
    unsigned flags; /* CLONE_NEW… that the clone made */
    bool degraded;  /* unshare what can be had first: no user namespace */
    int sync_fd; /* a byte comes when the ids are mapped, and one when the devices' descriptor was taken;
                     * end of file when the parent is gone */
    int status_fd; /* struct sandbox_report goes out */
    int log_fd;    /* standard output and error of the program */
};

/* Sets up the sandbox, runs the program, reaps until it ends, and exits; the kernel kills what is left. */
_Noreturn void sandbox_init(struct sandbox_plan *plan);
