/* Times, sizes and states in words for people. Each fills a buffer of the caller's and returns it. */
#pragma once

#include "ctl/table.h"

#include <stdint.h>

#define FORMAT_MAX 64

/* A duration: "850 ms", "12 s", "3 min 20 s", "2 h 5 min", "4 d 3 h"; "-" when negative. */
const char *format_duration(int64_t ms, char buf[FORMAT_MAX]);
/* How long before `now` (wall clock, ms) something was: "12 s ago", "now"; "-" for 0 or less. */
const char *format_ago(int64_t at, int64_t now, char buf[FORMAT_MAX]);
/* A size: "512 B", "1.4 MiB"; "-" when negative. */
const char *format_size(int64_t bytes, char buf[FORMAT_MAX]);
/* A digest's first 12 digits, without the algorithm; "-" for "". */
const char *format_digest(const char *digest, char buf[FORMAT_MAX]);
/* A git ref without refs/heads/ or refs/tags/; borrowed from `ref`. */
const char *short_ref(const char *ref);
/* A platform without "linux/"; borrowed from `platform`. */
const char *short_platform(const char *platform);
/* The ink in which a state of a track, build, job, cell, board or source is shown. */
enum ink state_ink(const char *state);
