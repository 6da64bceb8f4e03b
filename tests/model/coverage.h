/* What the histories reached: a counter for each thing that a history should come to. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define COVERAGE(X)                                                                                \
    X(HISTORIES, "histories")                                                                      \
    X(STEPS, "steps")                                                                              \
    X(TURNS, "turns")                                                                              \
    X(COMMITS, "commits")                                                                          \
    X(STALLS, "commits that stalled")                                                              \
    X(BATCHED, "turns gathered behind a commit")                                                   \
    X(CRASHES, "crashes")                                                                          \
    X(CRASHES_MID_COMMIT, "crashes in the middle of a commit")                                     \
    X(CRASHES_WITH_LEASES, "restarts with live leases")                                            \
    X(CRASHES_PUBLISHING, "restarts in the middle of a publication")                               \
    X(BUILDS, "builds")                                                                            \
    X(SUPERSEDED, "builds superseded")                                                             \
    X(UNCHANGED, "builds with equal output")                                                       \
    X(HELD, "builds held")                                                                         \
    X(CANCELLED, "builds cancelled")                                                               \
    X(FAILED, "builds failed")                                                                     \
    X(JOBS_SHARED, "jobs that several builds want")                                                \
    X(POISON, "jobs failed as poison")                                                             \
    X(NOWHERE, "jobs failed for want of another board")                                            \
    X(MEMORY, "attempts failed for memory")                                                        \
    X(TIMEOUTS, "attempts timed out")                                                              \
    X(REJECTED, "attempts rejected")                                                               \
    X(INFRA, "attempts failed for want of something")                                              \
    X(LOST, "attempts lost")                                                                       \
    X(REATTACHED, "lost attempts that came back")                                                  \
    X(LATE_RESULTS, "results refused as late or doubled")                                          \
    X(LOST_ANSWERS, "answers lost")                                                                \
    X(PUBLICATIONS, "publications verified")                                                       \
    X(ABANDONED, "publications abandoned")                                                         \
    X(CHILD_MISSING, "children missing from the registry")                                         \
    X(STOPPED, "repositories stopped")                                                             \
    X(ADOPTED, "repositories adopted")                                                             \
    X(RESTORED, "repositories restored")                                                           \
    X(AUDITED, "audits")                                                                           \
    X(MOVED_TAGS, "tags moved")                                                                    \
    X(RETAINED, "retention tags moved")                                                            \
    X(PRUNED, "publications pruned")                                                               \
    X(LOST_KEPT, "manifests lost that a place kept")                                               \
    X(STRANGERS, "tags moved or deleted by hand")                                                  \
    X(COLLECTED, "manifests collected as garbage")                                                 \
    X(DELETED_REFS, "refs deleted")                                                                \
    X(FORCED, "refs forced")                                                                       \
    X(FOLLOWED, "forced refs that moved on and count")                                             \
    X(BASES_MOVED, "outside bases moved")                                                          \
    X(BASES_MOVED_ON, "bases that moved on while others waited")                                   \
    X(RELOADS, "reloads")                                                                          \
    X(SOURCES_CHANGED, "images that come from another source")                                     \
    X(REGISTRIES_CHANGED, "images that go to another registry")                                    \
    X(STOOD, "publications that stand for want of their registry")                                 \
    X(STOOD_UP, "publications that stood and were verified")                                       \
    X(COMMANDS, "commands taken")                                                                  \
    X(REFUSED, "commands refused")                                                                 \
    X(QUARANTINED, "boards quarantined")                                                           \
    X(EMULATED, "jobs run by an emulating board")                                                  \
    X(WALL_JUMPS, "jumps of the wall clock")                                                       \
    X(SEEN_DORMANT, "tracks dormant")                                                              \
    X(ASLEEP_AGAIN, "tracks asleep again without what they were woken for")                        \
    X(SEEN_AWAITED, "tracks that wait for a look at another source")                               \
    X(SEEN_NOT_THERE, "tracks whose ref another source has not")                                   \
    X(SEEN_OUT_OF_BOUNDS, "tracks outside versions")                                               \
    X(SEEN_STALE, "children that count as stale")                                                  \
    X(SEEN_STAYS, "tags that stay with a held track")                                              \
    X(SEEN_CONFLICT, "tracks in conflict")                                                         \
    X(SEEN_PART_CONFLICT, "tags of one platform that another claims by name")                      \
    X(SEEN_PART_TAKEN, "tags of one platform that another has by name")                            \
    X(SEEN_PART_BLOCKED, "tracks two tags of which collide in this way")                           \
    X(SEEN_PART_BASE, "tracks built on a tag of one platform")                                     \
    X(SEEN_CYCLE, "tracks in a cycle")                                                             \
    X(SEEN_BASE_MISSING, "tracks blocked by a base")                                               \
    X(SEEN_CONTEXT_GONE, "tracks whose folder went")                                               \
    X(SEEN_ANCESTOR, "tracks waiting for an ancestor")                                             \
    X(SEEN_NO_BOARD, "tracks without a board")                                                     \
    X(LOADED, "models loaded and compared")                                                        \
    X(RESTED, "histories brought to rest")                                                         \
    X(WALL_COMPARED, "histories compared with a still wall clock")                                 \
    X(WHAT_IF, "questions of what would be")                                                       \
    X(FORETOLD, "events that came as foretold")                                                    \
    X(FORETOLD_BUILDS, "builds foretold")                                                          \
    X(FORETOLD_TAGS, "moves of tags foretold")                                                     \
    X(WHAT_IF_COMPARED, "histories compared with one in which nobody asked")

enum coverage {
#define X(id, text) COVERED_##id,
    COVERAGE(X)
#undef X
        COVERED_COUNT
};

/* Counts one. */
void covered(enum coverage what);
/* Counts several. */
void covered_more(enum coverage what, uint64_t n);
/* Where the counters are: COVERED_COUNT of them, replaced to share them between processes. */
extern uint64_t *coverage_counters;
/* The text of one. */
const char *coverage_text(enum coverage what);
