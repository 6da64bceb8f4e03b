/* What the rows tell of how far the histories come. */
#include "tests/model/check_int.h"

static void became(const struct change *old, const struct change *now, const char *state,
                   enum coverage what)
{
    if (str_eq(row_text(now, "state"), state) && (!old || !str_eq(row_text(old, "state"), state)))
        covered(what);
}

static void attempt_written(const struct change *old, const struct change *now)
{
    static const struct {
        const char *kind;
        enum coverage what;
    } kinds[] = {{"infra", COVERED_INFRA},
                 {"timeout", COVERED_TIMEOUTS},
                 {"memory", COVERED_MEMORY},
                 {"rejected", COVERED_REJECTED}};
    became(old, now, "lost", COVERED_LOST);
    if (old && str_eq(row_text(old, "state"), "lost"))
        became(old, now, "running", COVERED_REATTACHED);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        if (str_eq(row_text(now, "kind"), kinds[i].kind))
            became(old, now, "failed", kinds[i].what);
}

static void build_written(const struct change *old, const struct change *now)
{
    if (!old)
        covered(COVERED_BUILDS);
    became(old, now, "superseded", COVERED_SUPERSEDED);
    became(old, now, "unchanged", COVERED_UNCHANGED);
    became(old, now, "held", COVERED_HELD);
    became(old, now, "cancelled", COVERED_CANCELLED);
    became(old, now, "failed", COVERED_FAILED);
}

static void ref_written(const struct change *old, const struct change *now)
{
    if (!old)
        return;
    const char *was = row_text(old, "commit"), *is = row_text(now, "commit");
    if (!row_int(old, "deleted") && row_int(now, "deleted"))
        covered(COVERED_DELETED_REFS);
    if (!str_eq(was, is) && *row_text(old, "pending_commit") &&
        !str_eq(row_text(old, "pending_commit"), is))
        covered(COVERED_FOLLOWED);
}

/* A change of state, in words. */
void say_row(struct sim *s, const struct change *old, const struct change *now)
{
    static const enum table_id told[] = {TABLE_JOB, TABLE_ATTEMPT, TABLE_BUILD, TABLE_PUBLICATION,
                                         TABLE_BOARD};
    if (now->table == TABLE_TRACK && !now->deleted &&
        (!old || row_int(old, "dormant") != row_int(now, "dormant")))
        sim_say(s, "        track %s: %s", row_text(now, "id"),
                row_int(now, "dormant") ? "dormant" : "active");
    for (size_t i = 0; i < sizeof(told) / sizeof(*told); i++) {
        if (now->table != told[i] || now->deleted)
            continue;
        const char *state = row_text(now, "state"), *was = old ? row_text(old, "state") : "";
        if (str_eq(state, was))
            continue;
        cleanup_free char *key = row_key(now);
        key[strcspn(key, "\n")] = '\0';
        const char *name = now->table == TABLE_ATTEMPT  ? row_text(now, "lease")
                           : str_starts(key, "sha256:") ? key + 7
                                                        : key + strspn(key, "0");
        const char *of = now->table == TABLE_ATTEMPT ? row_text(now, "board")
                         : now->table == TABLE_BOARD ? ""
                                                     : row_text(now, "track");
        sim_say(s, "        %s %.12s %s: %s -> %s", table_of(now->table)->name, name, of, was,
                state);
    }
}

static bool says_it_stands(const struct change *publication)
{
    return strstr(row_text(publication, "error"), "is not in farm.yaml any more; it goes on");
}

static void publication_written(const struct change *old, const struct change *now)
{
    if (says_it_stands(now))
        covered(COVERED_STOOD);
    if (old && says_it_stands(old))
        became(old, now, "verified", COVERED_STOOD_UP);
}

void coverage_row(const struct change *old, const struct change *now)
{
    if (now->deleted && now->table == TABLE_PUBLICATION)
        covered(COVERED_PRUNED);
    if (now->deleted)
        return;
    switch (now->table) {
    case TABLE_ATTEMPT:
        attempt_written(old, now);
        return;
    case TABLE_BUILD:
        build_written(old, now);
        return;
    case TABLE_JOB:
        if (str_eq(row_text(now, "kind"), "poison"))
            became(old, now, "failed", COVERED_POISON);
        if (strstr(row_text(now, "reason"), "no other board takes it"))
            became(old, now, "failed", COVERED_NOWHERE);
        return;
    case TABLE_PUBLICATION:
        publication_written(old, now);
        became(old, now, "verified", COVERED_PUBLICATIONS);
        became(old, now, "abandoned", COVERED_ABANDONED);
        return;
    case TABLE_TRACK:
        if (old && row_int(old, "wait_clock") < 0 && row_int(now, "wait_clock") >= 0)
            covered(COVERED_SEEN_ANCESTOR);
        if (old && !row_int(old, "dormant") && row_int(now, "dormant") &&
            str_eq(row_text(old, "awake"), "needed"))
            covered(COVERED_ASLEEP_AGAIN);
        return;
    case TABLE_BOARD:
        became(old, now, "quarantined", COVERED_QUARANTINED);
        return;
    case TABLE_REF:
        ref_written(old, now);
        return;
    default:
        return;
    }
}
