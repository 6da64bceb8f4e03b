/* Making, finding and linking the model's objects. */
#pragma once

#include "daemon/model/state.h"

/* ---- load.c ---- */
/* Takes a loaded object (of the table's struct) over, before model_start. -EINVAL when it makes no sense. */
int model_add(struct model *m, enum table_id table, void *object);
/* Tracks whose wait for ancestors is over are planned. Returns whether any waits. */
bool waits_due(struct model *m);

/* ---- source.c ---- */
/* The source of that URL, made when it is new. */
struct source *source_get(struct model *m, const char *url);
/* Whether a ref of the source counts as that commit. */
bool model_commit_is_current(const struct model *m, const char *source, const char *commit);
/* The ref of a source, or NULL. */
struct ref *source_ref(const struct model *m, const char *source, const char *name);
/* Whether an image follows the ref. What none does is not listed: nothing is known of it. */
bool source_ref_is_listed(const struct model *m, const struct ref *r);
/* What the last look saw of a ref that is listed, and counts only when it is seen so again, in words that the caller owns;
 * NULL: nothing. *ret_look is the number of that look. */
char *source_ref_awaits(const struct model *m, const struct ref *r, int64_t *ret_look);

/* ---- context.c ---- */
/* The context, made and asked for when it is new. `dockerfile` "" for none; `ref` is where the commit is found. */
struct context *context_get(struct model *m, const char *source, const char *ref,
                            const char *commit, const char *path, const char *dockerfile);
/* The context, or NULL. */
struct context *context_find(const struct model *m, const char *source, const char *commit,
                             const char *path, const char *dockerfile);
/* The epoch of a context's files, or NULL. */
struct epoch *epoch_find(const struct model *m, const char *source, const char *context_id);
/* The epoch of a context, NULL when its files were never seen. */
struct epoch *context_epoch(const struct model *m, struct context *c);
/* The digest of the text of a context's Dockerfile, which it has; borrowed. */
const char *context_dockerfile_digest(struct context *c);
/* Takes a loaded context into the model. */
void context_add(struct model *m, struct context *c);
/* Takes a loaded epoch into the model. */
void epoch_add(struct model *m, struct epoch *e);
/* Asks again for what is due. */
void context_timer(struct model *m);
/* Asks again now for a context that waits for its next look. Returns whether it does. */
bool context_retry_now(struct model *m, const struct context *c);

/* ---- base.c ---- */
/* The outside base, or NULL. */
struct base *base_find(const struct model *m, const char *reference);
/* The outside base, made when it is new. */
struct base *base_named(struct model *m, const char *reference);
/* Something is built on it: it is looked up, unless it was or is being. */
void base_wanted(struct model *m, struct base *b);
/* Asks again for what is due. */
void base_timer(struct model *m);
/* Looks again now for a base whose last look failed. Returns whether it did. */
bool base_retry_now(struct model *m, struct base *b);
/* Takes a loaded base into the model. */
void base_add(struct model *m, struct base *b);
/* Decodes base->children into base->child. */
void base_decode(struct base *b);

/* ---- track.c ---- */
/* The track with that id, or NULL. */
struct track *track_find(const struct model *m, const char *id);
/* Whether it has published to the repository that its image has now: `last` is there. */
bool track_published(const struct track *t);
/* Where its image publishes to another repository than that of `last`: `last` becomes what it published there before, if
 * anything. */
void track_recall(struct model *m, struct track *t);
/* Takes a loaded track into the model. */
void track_add(struct model *m, struct track *t);
/* Links a track to its image, ref, slots and tags, anew; all that was derived from them is forgotten. */
void track_link(struct model *m, struct track *t);
/* Called with one that is built on a track. Returns whether what is built on that is to be visited too. */
typedef bool (*track_visit_fn)(struct model *m, struct track *t);
/* Visits what is built on the track, however indirectly, but not itself; what may be reached by several ways perhaps more
 * than once. */
void track_walk_below(struct model *m, struct track *t, track_visit_fn visit);
/* What is built on the track's tags looks again. */
void track_tell_dependents(struct model *m, struct track *t);
/* Replaces the track's edges to its bases by what its slots' pins say, if those were made anew. */
void track_set_bases(struct model *m, struct track *t);
/* Sets the state and reason that people see. */
void track_state_set(struct model *m, struct track *t, enum track_state state,
                     enum reason_code code, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* Notes what a person asks the track's next build for, or that it is for what the registry has lost; REASON_NONE: that
 * is taken up. */
void track_ask(struct model *m, struct track *t, enum reason_code asked);

/* ---- discover.c ---- */
/* Makes the tracks of the images of a source for its refs, where they are missing. An image whose pattern is new
 * waits until the source is `sighted` with it: which tags are old can be told from all of them only. */
void track_discover(struct model *m, struct source *s, bool sighted);
/* Notes which images have another source than before, whose refs are first sight; and which await a sighting. Before
 * track_discover. */
void track_sources(struct model *m);
/* Whether the source of the track's image is another one, in which nothing was looked for since. */
bool track_awaits_sighting(const struct model *m, const struct track *t);
/* The source was looked at, or could not be: plans what awaited that. */
void track_source_looked_at(struct model *m, const struct source *s);
/* Whether the image was never seen with its present pattern and bounds. */
bool track_image_unseen(const struct model *m, const struct farm_image *image);
/* Why there is no first sight of it yet, in words that the caller owns; NULL where there is. */
char *track_image_awaits(const struct model *m, const struct farm_image *image);
/* Appends, in their order, a text for each ref that the image follows and that has no track, since another ref of the same short
 * name (refs/tags/x, refs/heads/x) has it. */
void track_ignored_refs(const struct model *m, const struct farm_image *image, strvec *texts);

/* ---- sleep.c ---- */
/* A track is kept in date from now on, for that reason if it was dormant or for a lesser one. */
void track_wake(struct model *m, struct track *t, enum awake why);
/* Why a track that slept, or would sleep, is kept in date, in words that the caller owns; NULL for any other. */
char *track_awake_text(const struct model *m, const struct track *t);
/* A wanted dependent names the tag: wakes the track that owns it; if it is not published yet and nobody who
 * claims it is kept in date, the one of the highest version. */
void node_wake(struct model *m, const struct tag_node *n);
/* The track was published for the first time: `maintain` may put it, or others of its series, to sleep. */
void track_first_published(struct model *m, struct track *t);
/* One that was woken until it is published (AWAKE_ONCE) is: it is like any other now, which `maintain` may end. */
void track_published_again(struct model *m, struct track *t);
/* Nothing is left to plan: what was woken for dependents and has none any more falls asleep, unless the files of some
 * track are being read. Returns whether any does. */
bool track_doze(struct model *m);
/* The farm has changed: puts to sleep what `maintain` keeps in date no longer. */
void track_maintain(struct model *m);

/* ---- platforms.c ---- */
/* Whether nothing is published without this platform. */
bool slot_gates(const struct slot *s);
/* Whether its last child, which an index would keep, is lost, and nothing can be built in its place: farm.yaml names the
 * platform no more. */
bool slot_child_gone(const struct slot *s);
/* The child that an index keeps while the platform has nothing newer; NULL: none was published, or it is retired. */
const struct child *slot_kept_child(const struct slot *s);
/* An index keeps (or does not keep) its last good child in place of what is wanted: starts, ends its deadline. */
void slot_behind(struct model *m, struct slot *s, bool behind);
/* Whether its last good child counts as stale. */
bool slot_stale(const struct slot *s);
/* After loading: waits for what is left of its deadline. */
void slot_resume_wait(struct model *m, struct slot *s);
/* Deadlines that are over. */
void slot_timer(struct model *m);

/* ---- job.c ---- */
/* Takes a loaded job into the model. */
void job_add(struct model *m, struct job *j);
/* Frees a job that is in the model no more. */
void job_free(struct job *j);
/* job_spec.c: fills in what a board is told of the job of a slot; the caller ends `w`. */
void job_spec_fill(struct model *m, const struct slot *s, struct wire_job *w);
/* The job of a key, or NULL. One of the past becomes an object again. */
struct job *job_find(const struct model *m, const char *key);
/* No build wants the settled job any more: forgets what a board is told of it. A slot that gets its key again says it
 * anew (job_describe) before it is wanted. */
void job_forget_spec(struct model *m, struct job *j);
/* Which builders can build it: what the slot's Dockerfile says. */
void job_note_builder(struct model *m, struct job *j, const struct slot *s);
/* Makes the job of a slot, wanted. */
struct job *job_make(struct model *m, struct slot *s, enum build_class class);
/* Whether a job may go from one state to the other. */
bool job_may(enum job_state from, enum job_state to);
/* Moves a job to a state that its table allows. */
void job_move(struct model *m, struct job *j, enum job_state state);
/* Makes a job wanted that is not under way: never tried, superseded, failed or invalid. */
void job_want(struct model *m, struct job *j, enum build_class class);
/* Whether it is wanted, leased or running. */
bool job_under_way(const struct job *j);
/* Nobody wants it any more: ends it where it is; superseded, unless `by_person`. */
void job_cancel(struct model *m, struct job *j, bool by_person);
/* Everything that builds on the job's outcome looks again. */
void job_changed(struct model *m, struct job *j);
/* Says anew what a board is told of the job and whose files it is built from: a key names contents, and what
 * holds them may have changed since the job was made. */
void job_describe(struct model *m, struct job *j, const struct slot *s);

/* ---- failure.c ---- */
/* An attempt at it failed: decides whether it is tried again, where and when. */
void job_attempt_failed(struct model *m, struct job *j, struct attempt *a);
/* A board was lost with it; `blame`: in the middle of its recipe. */
void job_attempt_lost(struct model *m, struct job *j, struct attempt *a, bool blame);
/* The registry has lost what it put there: it is built again. */
void job_output_lost(struct model *m, struct job *j);
/* The registry keeps what it put there. */
void job_output_kept(struct model *m, struct job *j);
/* Its agent reports that it gave the attempt up, unasked. */
void job_given_up(struct model *m, struct job *j, struct attempt *a);
/* It is about to succeed on `winner`: the board where it failed by itself before is to blame, if that is another. */
void job_blame(struct model *m, const struct job *j, struct board *winner);
/* After loading: waits for what is left of its delay. */
void job_resume_wait(struct model *m, struct job *j);
/* It waits in the queue for another board than it had, and there is none any more: it has failed. */
void job_nowhere(struct model *m, struct job *j);
/* Whether it settled as failed and may be tried again now. */
bool job_retry_due(const struct model *m, const struct job *j);
/* Why it failed and when it is tried again, for people. The caller owns it. */
char *job_failed_text(const struct job *j);
/* Back into the queue now, where it waits for its time. Returns whether it did. */
bool job_retry_now(struct model *m, struct job *j);
/* retry.c: what failed or was cancelled of the track's build, which goes on, is wanted again as a person's, where it is what
 * is wanted now. */
void retry_in_build(struct model *m, struct track *t);
/* Back into the queue when its time has come. */
void job_timer(struct model *m);

/* ---- attempt.c ---- */
/* The live attempt of that lease, or NULL. */
struct attempt *attempt_find(const struct model *m, const char *lease);
/* Takes a loaded attempt into the model. */
void attempt_add(struct model *m, struct attempt *a);
/* Frees an attempt that is in the model no more. */
void attempt_free(struct attempt *a);
/* Makes an attempt: the job is leased to the board. */
struct attempt *attempt_grant(struct model *m, struct job *j, struct board *b);
/* Whether an attempt may go from one state to the other. */
bool attempt_may(enum attempt_state from, enum attempt_state to);
/* Moves it to a state that its table allows. */
void attempt_move(struct model *m, struct attempt *a, enum attempt_state state);
/* The board tells that it holds the lease: granted or lost becomes running. */
void attempt_reattach(struct model *m, struct attempt *a, struct board *b);
/* The attempt has ended: frees it once its row is written. */
void attempt_end(struct model *m, struct attempt *a);

/* ---- build.c ---- */
/* Makes the track's latest build agree with the keys that it wants now. */
void build_sync(struct model *m, struct track *t);
/* Ends a build. */
void build_end(struct model *m, struct build *b, enum build_state state, enum reason_code code,
               const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* Whether all that gates it runs, is done or can run now, and its publication does not wait for the registry. */
bool build_goes_on(const struct model *m, const struct build *b);
/* Whether its publication runs to its end whatever comes, since its first tag is journalled, or has done so. */
bool build_past_first_tag(const struct model *m, const struct build *b);
/* Whether the build wants what the track wants now: the same platforms, with the same keys. */
bool build_matches(const struct build *b, const struct track *t);
/* Design rule 6: superseded twice in a row, the latest build may finish and publish though inputs are newer. Not if it cannot
 * now, and perhaps never will, or has other platforms than are wanted now: its index could lack a required one. */
bool build_may_finish(const struct model *m, const struct track *t);
/* A person cancelled the latest build, and nothing is wanted since but what that was to bring: it is not built again, though a
 * job of it ended when all others who wanted it had stopped. */
bool build_stays_cancelled(const struct track *t);
/* The build is not what is wanted any more: ends it as superseded, for that reason; as published where it is past its
 * first tag. */
void build_give_up(struct model *m, struct build *b, enum reason_code code, const char *text);
/* Its track is not built any more: gives it up or, where it has ended, what is under way of it still, and nobody else
 * wants. */
void build_stop(struct model *m, struct build *b, enum reason_code code, const char *text);
/* Whether a build may go from one state to the other. */
bool build_may(enum build_state from, enum build_state to);
/* Moves a build that goes on. */
void build_move(struct model *m, struct build *b, enum build_state state);
/* Takes a build out of the model and frees it. */
void build_free(struct model *m, struct build *b);
/* A platform may begin or cease to gate while its key stays. */
void build_update_required(struct model *m, struct build *b);
/* Whether the job is one of its. */
bool build_wants(const struct build *b, const struct job *j);
/* Whether it has not ended. */
bool build_active(const struct build *b);

/* ---- publication.c ---- */
/* Whether a publication may go from one state to the other. */
bool publication_may(enum publication_state from, enum publication_state to);
/* What the publication names belongs to what its repository's tags may name, or does no more. */
void publication_known(struct model *m, const struct publication *p, bool known);
/* Takes a new or loaded publication into the model. */
void publication_add(struct model *m, struct publication *p);
/* The publication of that id, or NULL. */
struct publication *publication_find(const struct model *m, int64_t id);
/* Decides to publish what `build` made: takes the next generation. `children` is taken over. */
struct publication *publication_make(struct model *m, struct track *t, int64_t build,
                                     childvec *children, const strvec *tags);
/* Asks for the next step of a publication that runs, unless it stands. */
void publication_go_on(struct model *m, struct publication *p);
/* Whether it waits for farm.yaml to name its registry again. */
bool publication_stands(const struct model *m, const struct publication *p);
/* Whether it stands, or fails where no image of farm.yaml publishes any more: a person may give it up. */
bool publication_forsaken(const struct model *m, const struct publication *p);
/* Gives up a publication that has not written its first tag, or that a person gives up. */
void publication_abandon(struct model *m, struct publication *p, const char *why);
/* A person decided something about the repository's tags: they are planned again, and a publication that has not
 * begun with its tags is given up. */
void publication_reconsider(struct model *m, const char *repository);
/* Goes on now with a publication that waits for its next try. Returns whether it did. */
bool publication_retry_now(struct model *m, struct publication *p);
/* The child of a platform, or NULL. */
const struct child *publication_child(const struct publication *p, enum platform platform);
/* Whether two lists name the same manifests for the same platforms. */
bool children_equal(const childvec *a, const childvec *b);
/* Frees the list; leaves it empty. */
void children_done(childvec *c);
/* Parses p->children. */
int publication_decode(struct publication *p);
/* Tries again what is due. */
void publication_timer(struct model *m);
/* Says what an audit found the tag to name; "": nothing, NULL: what it should. */
void tag_note(struct model *m, struct tag *tag, const char *found);
/* Takes a loaded tag into the model. */
void tag_add(struct model *m, struct tag *tag);
/* index_text.c: serialises the index of p->child, once: bytes, digest, media type. */
void publication_serialise(struct model *m, struct track *t, struct publication *p);
/* The JSON text of a list of children; the caller owns it. */
char *publication_children_text(const childvec *children);
/* The tag's row, or NULL. */
struct tag *tag_find(const struct model *m, const char *repository, const char *name);

/* prune.c: a track keeps its last publications, and what is pinned or still shown by a tag; the others are history once
 * another publication of the repository is verified. Some of the track's (NULL: nobody's) may not be kept any more. */
void prune_later(struct model *m, struct track *t);
/* So it may be of any track: after a start, and with another farm.yaml. */
void prune_all(struct model *m);
/* A publication of the repository was verified. */
void prune_now(struct model *m, struct repository *r);
/* What the track published last of its own in the repository that its image has now, not by a return to something older;
 * NULL: nothing. */
struct publication *publication_newest(const struct track *t);
/* The same; one whose tags begin to name it counts, since it runs to its end. */
struct publication *publication_newest_begun(const struct track *t);
/* Whether a tag names it still. */
bool publication_shown(const struct model *m, const struct publication *p);
/* A registry has lost a manifest of the track's repository: it is not published again, and the job that made it is
 * wanted again, if the track is built at all. */
void child_lost(struct model *m, struct track *t, const char *digest, const char *error);
/* It is there after all. */
void child_found(struct model *m, const struct track *t, const char *digest);

/* ---- retain.c ---- */
/* Takes a loaded place into the model, after its track. -EINVAL when it makes no sense. */
int retain_load(struct model *m, struct retention *r);
/* The registry has not got the manifest any more: no place names it. */
void retain_lost(struct model *m, struct track *t, const char *digest);
/* An audit saw what the place names: it is brought about again if that is something else. */
void retain_audited(struct model *m, const char *repository, const char *name, const char *expected,
                    const char *found);
/* Asks for what is wanted and not known to be done, after loading. */
void retain_start(struct model *m);
/* farm.yaml may be another: asks for what waits for a registry that it did not name. */
void retain_apply_farm(struct model *m);
/* Asks again for what is due. */
void retain_timer(struct model *m);
/* Frees what is kept beside the rows. */
void retain_done(struct model *m);
/* The job does (not) need its bases, and its last good output, from now on. */
void retain_job(struct model *m, struct job *j, bool needed);
/* What a board is told of the job is said anew. */
void retain_described(struct model *m, struct job *j, const struct wire_job *spec);
/* Gives the child a place, and says whether the registry keeps it there. *ret_error is what the last PUT failed of, or
 * NULL; borrowed until the next turn. */
bool retain_child(struct model *m, struct track *t, enum platform p, const char *digest,
                  const char **ret_error);
/* What the registry could not keep for the track is asked for now. Returns how many there are that waited. */
int retain_retry_now(struct model *m, const struct track *t);
/* Gives an index of the track a place. */
void retain_index(struct model *m, struct track *t, const char *digest);
/* The publication PUTs its index now: the name of its place, or NULL where it has none. */
const char *retain_index_begin(struct model *m, const struct publication *p);
/* That is over: `done`, or not, in which case it may still land if it was `sent`. */
void retain_index_end(struct model *m, const struct publication *p, bool done, bool sent);
/* The publication was abandoned: its index needs no place, unless another one needs it. */
void retain_index_drop(struct model *m, const struct publication *p);

/* ---- board.c ---- */
/* Takes a loaded board into the model. */
void board_add(struct model *m, struct board *b);
/* lease.c: answers its open poll, if there is one; with nothing to say only when `even_empty`. */
void board_reply_poll(struct model *m, struct board *b, bool even_empty);
/* The board of that name, or NULL. */
struct board *board_find(const struct model *m, const char *name);
/* Whether a board may go from one state to the other. */
bool board_may(enum board_state from, enum board_state to);
/* Moves it to a state that its table allows. */
void board_move(struct model *m, struct board *b, enum board_state state);
/* What a board is or can do has changed: what waits for one looks again. */
void board_plan_waiting(struct model *m);
/* Takes what a board is and can do into the live members. */
void board_take_facts(struct model *m, struct board *b, const struct wire_facts *facts);
/* The same from b->facts, after loading. */
void board_decode(struct model *m, struct board *b);
/* Ends what is due: polls, terms. */
void board_timer(struct model *m);
/* How many jobs it runs at most. */
int64_t board_slots(const struct model *m, const struct board *b);
/* Answers its open poll, if there is one, with what was granted and cancelled for it. */
void board_answer_poll(struct model *m, struct board *b);
/* It was heard to take work, or that it does not. */
void board_takes(struct model *m, struct board *b, bool takes);
/* When one that takes nothing is not waited for any more, by the farm's clock: a day after it began to take nothing. */
int64_t board_gone_clock(const struct board *b);
/* After loading: no board is there yet. */
void boards_start(struct model *m);
/* Why the board takes nothing now; NULL: it does. The caller owns the answer. */
char *board_why_not(const struct model *m, const struct board *b);
