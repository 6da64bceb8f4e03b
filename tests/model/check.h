/* What must hold after every step: the twelve invariants, each by its name (invariants.c), and the places from which
 * they watch. */
#pragma once

#include "tests/model/sim.h"

/* The watcher of a world. */
struct checker *checker_new(struct sim *s);
/* Frees it. */
void checker_free(struct checker *c);

/* A turn wrote a row; `old` is what was there before, NULL for nothing. */
void check_row(struct sim *s, const struct change *old, const struct change *now);
/* A row is committed. */
void check_committed(struct sim *s, const struct change *row);
/* A pass has ended. */
void check_pass(struct sim *s);
/* A step has ended. */
void check_step(struct sim *s);
/* A process starts anew: what is known of things not committed is forgotten. */
void check_restarted(struct sim *s);
/* An effect starts, its turn being committed. */
void check_effect(struct sim *s, const struct effect *e);
/* It was decided under the farm.yaml of now. */
void check_asked_of(struct sim *s, const struct effect *e);
/* The registry is told to let a tag name something. */
void check_put(struct sim *s, const struct effect *e, const struct effect_tag *tag);
/* A lease reached its board. */
void check_granted(struct sim *s, const char *lease, int64_t epoch, const char *secret);
/* A result arrives: the same of an older epoch would change nothing. */
void check_stale(struct sim *s, const char *lease, const struct wire_result *result);
/* A result arrived and was taken: whatever of it comes again changes nothing. */
void check_again(struct sim *s, const char *lease, const struct wire_result *result);
/* A result was answered. */
void check_result(struct sim *s, struct running *r, int status);
/* A poll, or a session, lists a lease. */
void check_listed(struct sim *s, const char *lease, int64_t epoch, const char *board);
/* A publication's child was found missing. */
void check_missing(struct sim *s, int64_t publication, enum platform platform);
/* A manifest was found missing. */
void check_missing_manifest(struct sim *s, const char *digest);
/* The registry is about to collect garbage, and has. */
void check_before_collecting(struct sim *s);
void check_collected(struct sim *s);
/* A person asked for something that concerns a track (NULL: any) or a job's key (NULL: none). */
void check_asked(struct sim *s, const char *track, const char *key);
/* A command changed something: the same one again changes nothing. */
void check_idempotent(struct sim *s, const struct command *c);
/* The rows that turns have written so far. */
uint64_t check_rows_written(const struct sim *s);
/* The farm is at rest. */
void check_rest(struct sim *s);
/* 11: whether something is still said to be away, `ms` of the clock after all is there again: not for long. */
bool inv11_away_ends(struct sim *s, int64_t ms);
/* Whether the track waits for a source which had refs and has none: nothing is believed until it has some. */
bool waits_for_refs(const struct track *t);
