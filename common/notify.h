/* What systemd wants to hear from a Type=notify service: datagrams to the socket that NOTIFY_SOCKET
 * names. Without that variable everything here does nothing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of the environment, so that children do not
 * speak for us. Call once, before there are threads. Whether there is a manager to tell. */
bool notify_init(void);

/* The service is up (READY=1), also after a reload. Never blocks; what cannot be sent is dropped. */
void notify_ready(void);

/* A reload has begun; notify_ready ends it. */
void notify_reloading(void);

/* The service has begun to stop. */
void notify_stopping(void);

/* One line for `systemctl status`; the same line twice in a row is sent once. */
void notify_status(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The watchdog's sign of life. */
void notify_watchdog(void);

/* How often notify_watchdog must be called, in ms: half of what the manager allows; 0 is never. */
int64_t notify_watchdog_ms(void);
