/* The plan: what is wanted, compared with what is. Pure comparisons over the tracks that an event may have
 * touched; see design notes in ARCHITECTURE.md, "The plan". */
#pragma once

#include "daemon/model/state.h"

struct recipe_reader;

/* Plans every queued track, ancestors before dependents, until none is queued. */
void plan_run(struct model *m);
/* Queues every track. */
void plan_all(struct model *m);
/* Whether the track is being brought up to date now, so that what is built on it had better wait. */
bool track_under_way(struct model *m, const struct track *t);

/* wait.c: whether the track, if it needs work, should wait for an ancestor still; sets state and reason, keeps its
 * deadline until no ancestor is under way. */
bool wait_for_ancestor(struct model *m, struct track *t, bool needs_work);
/* It waits for nothing any more: the next wait is a whole one. */
void wait_forget(struct model *m, struct track *t);
/* An ancestor that is queued for planning and may come to be under way, or NULL. */
struct track *wait_queued_ancestor(struct model *m, struct track *t);
/* The ancestor is under way no more: whoever waits for it looks again. */
void wait_over(struct model *m, struct track *ancestor);
/* Whether something that is built on the track may wait for it, or for what it is built on itself. */
bool wait_passes(const struct track *t);
/* It passes no more: whoever waits for something above it looks again. */
void wait_cut(struct model *m, struct track *t);
/* A job of the key is wanted: who waits, and would have had it built, looks again. */
void wait_job_wanted(struct model *m, const char *key);
/* Before the tracks are freed. */
void wait_free(struct model *m);
/* plan.c: whether the work of its key is neither done nor under way. */
bool slot_needs_work(const struct slot *s);

/* slot.c: evaluates what each platform of a track needs now: its context, its pins, its key. */
void slots_evaluate(struct model *m, struct track *t);
/* What slots_evaluate keeps from plan to plan is of another image, commit or builder now. */
void slot_forget(struct model *m, struct slot *s);
/* The job of its key; NULL: none, or the slot has no key. */
void slot_set_job(struct model *m, struct slot *s, struct job *j);
/* Frees what slots_evaluate derived. */
void slot_done(struct slot *s);

/* key.c: fills in the key, the list of inputs and the job (NULL: none has that key yet) of a slot from what it was
 * evaluated to. */
void key_compute(struct model *m, struct slot *s, struct recipe_reader *reader);
/* The list of inputs of a slot that has a key; borrowed. */
const char *slot_inputs(const struct slot *s);
/* key_words.c: what differs between two lists of inputs (JSON texts as in job.inputs), in words: clauses that follow
 * "built because". The caller owns the answer; NULL when nothing does. *ret_bases_alone: nothing but the content of
 * bases. */
char *key_difference(const char *old_inputs, const char *new_inputs, bool *ret_bases_alone);
/* why.c: says in `b`, which is being made, why it is: its reason and its class. */
void build_explain(struct model *m, struct track *t, struct build *b);
/* The first slot whose job settled as failed and whose delay is over; NULL: none. */
const struct slot *slot_to_retry(const struct model *m, const struct track *t);
/* SOURCE_DATE_EPOCH of a slot's context, seconds. */
int64_t key_epoch(struct model *m, const struct slot *s);
/* How the result is packed: "oci+gzip". Static. */
const char *key_packing(const struct farm_image *image);

/* publish_plan.c: what has succeeded gets its place in the registry. */
void publish_keep(struct model *m, struct track *t);
/* publish_plan.c: all required jobs have succeeded: decides where the track's tags should point. */
void plan_publish(struct model *m, struct track *t);
/* A track that a person returned to an older publication, or that has stopped: its tags name that, or its last one.
 * Sets state and reason, and returns true, while they do not. */
bool plan_return(struct model *m, struct track *t);
/* farm.yaml may be another: of the publications that run, those whose image does not publish there any more are given up,
 * if no tag of them is put; the others go on. */
void publish_apply_farm(struct model *m);
/* The publication of the track that runs, or NULL. */
const struct publication *publish_running(struct model *m, const struct track *t);
/* Whether the track waits for another track's publication, which the registry does not take. */
bool publish_stuck_behind(struct model *m, const struct track *t);
/* A publication that runs is told of where the track is at rest otherwise: held, stopped, failed. */
void plan_show_running(struct model *m, struct track *t);
/* Takes a track that does not wait for its turn to publish any more out of the queue. */
void publish_waits_no_more(struct model *m, struct track *t);
/* Whether some tag that the track owns would move if it were not held; its latest build is done. */
bool publish_pending(struct model *m, struct track *t);
