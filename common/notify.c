#include "common/notify.h"

#include "common/mem.h"

#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

static int notify_fd = -1;
static struct sockaddr_un address;
static socklen_t address_length;
static int64_t watchdog_us;
static char last_status[256];

/* A leading '@' is the abstract name space. */
static bool take_address(const char *path)
{
    size_t n = path ? strlen(path) : 0;
    if (n < 2 || n >= sizeof(address.sun_path) || (path[0] != '/' && path[0] != '@'))
        return false;
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, path, n);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    address_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    return true;
}

static int64_t take_watchdog(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    if (!usec || (pid && strtoll(pid, NULL, 10) != getpid()))
        return 0;
    int64_t us = strtoll(usec, NULL, 10);
    return us > 0 ? us : 0;
}

bool notify_init(void)
{
    if (take_address(getenv("NOTIFY_SOCKET")))
        notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    watchdog_us = notify_fd >= 0 ? take_watchdog() : 0;
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return notify_fd >= 0;
}

static void tell(const char *text)
{
    if (notify_fd < 0)
        return;
    ssize_t n = sendto(notify_fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&address,
                       address_length);
    (void)n; /* nobody to tell it to */
}

void notify_ready(void)
{
    tell("READY=1");
}

void notify_reloading(void)
{
    struct timespec ts;
    char text[80];
    clock_gettime(CLOCK_MONOTONIC, &ts);
    snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld",
             ts.tv_sec * 1000000LL + ts.tv_nsec / 1000);
    tell(text);
}

void notify_stopping(void)
{
    tell("STOPPING=1");
}

void notify_status(const char *fmt, ...)
{
    char status[sizeof(last_status)], text[sizeof(last_status) + 8];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(status, sizeof(status), fmt, ap);
    va_end(ap);
    if (notify_fd < 0 || strcmp(status, last_status) == 0)
        return;
    memcpy(last_status, status, sizeof(status));
    for (char *p = status; *p; p++)
        if (*p == '\n')
            *p = ' '; /* a line break would begin another field */
    snprintf(text, sizeof(text), "STATUS=%s", status);
    tell(text);
}

void notify_watchdog(void)
{
    tell("WATCHDOG=1");
}

int64_t notify_watchdog_ms(void)
{
    return watchdog_us / 2000;
}
