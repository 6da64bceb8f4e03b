/* Logging to standard error, one line a message. Under systemd (JOURNAL_STREAM set) each line carries
 * its priority as `<N>`; elsewhere a time stamp. */
#pragma once

enum log_level {
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7
};

/* Messages above `level` are dropped; the default is LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);
/* Sets the level from "error", "warning", "info" or "debug"; returns 0 or -EINVAL. */
int log_set_level_name(const char *name);
/* Writes one message; line breaks in it become spaces. */
void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
