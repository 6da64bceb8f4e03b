#include "daemon/committed.h"

#include "common/clock.h"
#include "common/log.h"
#include "daemon/model/copy.h"
#include "daemon/model/model.h"

struct committed {
    char *path;
    struct farm *farm;
    struct model *model;
    struct model_copy boards; /* what they said last */
    int64_t mono;
    bool loading, unwanted;
    struct err err;
    uv_work_t work;
    committed_fn done;
    void *data;
};

/* Nothing that a reader's model might name anew is told to anybody. */
static void fill_nothing(void *data, void *bytes, size_t n)
{
    (void)data;
    memset(bytes, 0, n);
}

/* A start decides nothing that is not decided; if farm.yaml says something new, what follows stays here. */
static void start(struct committed *c)
{
    struct turn turn = {0};
    model_turn_begin(c->model, &turn, c->mono, clock_wall_ms());
    model_start(c->model);
    model_copy_load_boards(&c->boards, c->model);
    model_turn_end(c->model);
    turn_done(&turn);
}

static void work(uv_work_t *w)
{
    struct committed *c = w->data;
    struct model_hooks hooks = {.fill_random = fill_nothing};
    c->model = model_new(c->farm, &hooks);
    if (store_load_committed(c->path, model_load_row, c->model, &c->err) == 0)
        start(c);
}

static void after(uv_work_t *w, int status)
{
    struct committed *c = w->data;
    (void)status;
    c->loading = false;
    if (c->unwanted) {
        committed_free(c);
        return;
    }
    if (c->err.code)
        log_warning("reading what is committed: %s", c->err.text);
    c->done(c->data, &c->err);
}

struct committed *committed_load(uv_loop_t *loop, const char *path, struct farm *farm,
                                 const struct model *live, int64_t mono, committed_fn done,
                                 void *data)
{
    struct committed *c = xnew(struct committed);
    c->path = xstrdup(path);
    c->farm = farm_hold(farm);
    c->mono = mono;
    c->done = done;
    c->data = data;
    c->work.data = c;
    c->loading = true;
    model_copy_boards(live, &c->boards);
    uv_queue_work(loop, &c->work, work, after);
    return c;
}

struct model *committed_model(const struct committed *committed)
{
    return committed && !committed->loading && !committed->err.code ? committed->model : NULL;
}

void committed_free(struct committed *c)
{
    if (!c)
        return;
    c->unwanted = true;
    if (c->loading)
        return;
    model_free(c->model);
    model_copy_done(&c->boards);
    farm_free(c->farm);
    free(c->path);
    free(c);
}
