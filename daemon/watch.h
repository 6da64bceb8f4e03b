/* Upstreams: which there are, when to look at each again, and what was seen.
 *
 * A source is known by its URL and looked at once for all images that use it. One thing at a time is done
 * with a source, a poll or a fetch. What a sighting means (a ref that wakes a track, a deletion that counts
 * at its second sighting) is for the model to say; here it is only made sure that a sighting is whole. */
#pragma once

#include "daemon/git_pool.h"

#include <uv.h>

struct watch;

/* One source as it is configured; everything is copied. */
struct watch_source {
    const char *url;
    struct git_login login;
    const strvec *patterns;   /* ref_glob patterns of all images on it; HEAD matches "HEAD" */
    int64_t interval_ms;      /* between polls that succeed */
    int64_t fetch_timeout_ms; /* of one fetch; 0: the pool's default */
    uint64_t sighting; /* for a source that is new here: the number of its last sighting ever */
    bool had_refs;     /* for a source that is new here: its last sighting had refs */
};

/* What one poll saw. Pointers live until the callback returns. */
struct watch_seen {
    const char *url;
    const struct git_list_result *list; /* whole, of the patterns configured now; NULL on failure */
    const struct err *err;              /* its code is 0 unless this is a failure */
    uint64_t sighting; /* number of this sighting; on failure of the last that succeeded */
    bool changed;      /* it differs from the last sighting, or is the first since the start */
    unsigned failures; /* in a row, up to now */
    int64_t next_ms;   /* until the next poll, unless one is asked for */
};

/* Called after each poll, from the loop. It may call any function of this file. */
typedef void (*watch_cb)(const struct watch_seen *seen, void *userdata);

struct watch_options {
    const char *state_dir; /* the pool's; mirrors are in its folder "mirrors" */
    int64_t cap_ms;        /* the longest delay after failures; 0: one hour */
    int64_t timeout_ms;    /* of one poll; 0: the pool's default */
};

/* Makes a watch without sources. The pool is weak and must outlive it; options are copied. */
struct watch *watch_new(uv_loop_t *loop, struct git_pool *pool, const struct watch_options *options,
                        watch_cb cb, void *userdata);
/* Makes the sources exactly these `n`: new ones are polled soon, those whose patterns or login changed at
 * once (a poll under way is made again), those that are not named are forgotten and their fetches fail with
 * -ECANCELED. */
void watch_configure(struct watch *watch, const struct watch_source *sources, size_t n);
/* Polls a source as soon as can be; a poll under way may have missed what was just pushed, so one more
 * follows it. -ENOENT: there is no such source. */
int watch_poll_now(struct watch *watch, const char *url);
/* While it is paused, polls that come due wait; what is under way goes on. */
void watch_pause(struct watch *watch, bool paused);
/* Fetches refs into the source's mirror, which with `anew` is emptied first, after what is being done with
 * the source now. `cb` fires exactly once, not before the call has returned. -ENOENT: there is no such
 * source, and `cb` does not fire. */
int watch_fetch(struct watch *watch, const char *url, const strvec *refs, bool anew,
                git_fetch_cb cb, void *userdata);

/* When a source is looked at next. */
struct watch_when {
    bool polling;    /* it is being looked at, or will be as soon as can be */
    int64_t next_ms; /* until the next poll otherwise */
};
/* Says when a source is looked at next. -ENOENT: there is no such source. */
int watch_when(const struct watch *watch, const char *url, struct watch_when *ret);
/* The path of a source's mirror (it may not exist yet), whether or not the source is configured. The caller
 * owns it. */
char *watch_mirror_path(const struct watch *watch, const char *url);
/* Forgets all sources and frees the watch; `done` (may be NULL) is called when nothing of it is left on the
 * loop. No other call may follow. */
void watch_close(struct watch *watch, void (*done)(void *userdata), void *userdata);
