/* Reading a commit from a mirror.
 *
 *     happy path     the mirror has the commit and answers
 *     failure modes  it has not, or there is no mirror: the refs are fetched, and it is asked again;
 *                    a ref was the commit and still there is no answer, or what is there cannot be read: the mirror
 *                    is broken (half of it was lost, a disk failed), and is made anew once, then asked again;
 *                    the ref is a file's or a tree's: refused;
 *                    the refs have moved on: that is the answer, and the next sighting brings another commit */
#include "daemon/upstream_internal.h"

#include <errno.h>

/* Errors that a better mirror may cure. */
static bool is_mirrors_fault(const struct err *err)
{
    return err->code == -ENOENT || err->code == -EIO;
}

static bool fetch(struct reading *reading, bool anew);

/* Asks again, unless there is nothing more to hope for. */
static void take_result(struct reading *reading, const struct git_fetch_result *result)
{
    struct err err = ERR_INIT;
    VEC_FOREACH (&result->fetched, f)
        reading->named |= str_eq(f->commit, reading->commit);
    VEC_FOREACH (&result->refused, f) {
        if (!str_eq(f->oid, reading->commit))
            continue;
        reading->refused = true;
        err.code = err_set(&err, -EINVAL, "%s", f->text);
    }
    if (reading->mr->u->closing)
        err.code = err_set(&err, -ECANCELED, "stopping");
    if (err.code)
        reading->failed(reading, &err);
    else
        reading->ask(reading);
}

static void on_fetched(const struct git_fetch_result *result, const struct err *err, void *userdata)
{
    err = git_failure(err);
    struct reading *reading = userdata;
    struct mirror *mr = reading->mr;
    bool broken = err && err->code == -EIO && !mr->u->closing;
    if (broken && reading->stage == READING_FETCHED && mirror_may_empty(mr)) {
        reading->stage = READING_ANEW;
        if (fetch(reading, true))
            return;
    }
    if (err) {
        reading->failed(reading, err);
        return;
    }
    take_result(reading, result);
}

/* False where the source is not watched any more. */
static bool fetch(struct reading *reading, bool anew)
{
    struct mirror *mr = reading->mr;
    return watch_fetch(mr->u->watch, mr->url, reading->refs, anew, on_fetched, reading) == 0;
}

bool upstream_reading_goes_on(struct reading *reading, const struct err *err)
{
    struct mirror *mr = reading->mr;
    if (mr->u->closing || !reading->refs->n || !is_mirrors_fault(err))
        return false;
    if (reading->stage == READING_AS_IS) {
        reading->stage = READING_FETCHED;
        return fetch(reading, false);
    }
    bool broken = reading->named || err->code == -EIO;
    if (reading->stage != READING_FETCHED || !broken || !mirror_may_empty(mr))
        return false;
    reading->stage = READING_ANEW;
    return fetch(reading, true);
}
