/* The pool: which request goes to which worker, and when.
 *
 * A request is queued, runs on an idle worker, and is finished: answered, failed, timed out or cancelled.
 * Callbacks are all called from one place, a timer of no delay, so that no call into the pool ever calls back
 * from within. A worker that is killed counts until it is reaped: one that cannot even die holds its place. */
#include "daemon/git_pool_int.h"

#include "common/helper_path.h"
#include "common/json.h"

#include <signal.h>

#define MINUTE_MS       60000
#define DEFAULT_WORKERS 4

struct queue {
    struct git_request *first, **last;
};

/* A worker's place. */
struct seat {
    struct git_pool *pool;       /* weak */
    struct git_process *process; /* NULL: none yet, or it is reaped */
    struct git_request *request; /* what it is at */
    int64_t id;                  /* of its last question */
    bool dying;
};

struct git_pool {
    uv_loop_t *loop;
    uv_timer_t kick;
    strvec argv;
    struct seat *seats;
    size_t n_seats;
    size_t n_processes; /* that have not told that they are gone */
    struct queue local, lists, fetches, finished;
    size_t n_remote, n_fetches; /* running now; fetches are remote too */
    uint64_t last_number;
    int64_t last_id;
    bool closing;
    void (*closed)(void *userdata);
    void *closed_userdata;
};

/* ---- queues ---- */

static void queue_init(struct queue *queue)
{
    queue->first = NULL;
    queue->last = &queue->first;
}

static void queue_push(struct queue *queue, struct git_request *request)
{
    request->next = NULL;
    *queue->last = request;
    queue->last = &request->next;
}

static struct git_request *queue_pop(struct queue *queue)
{
    struct git_request *request = queue->first;
    if (!request)
        return NULL;
    queue->first = request->next;
    if (!queue->first)
        queue->last = &queue->first;
    return request;
}

static void queue_remove(struct queue *queue, struct git_request *request)
{
    struct git_request **at = &queue->first;
    while (*at && *at != request)
        at = &(*at)->next;
    if (!*at)
        return;
    *at = request->next;
    if (!request->next)
        queue->last = at;
}

static struct queue *queue_of(struct git_request *request)
{
    struct git_pool *pool = request->pool;
    if (request->op == GIT_OP_LIST)
        return &pool->lists;
    return request->op == GIT_OP_FETCH ? &pool->fetches : &pool->local;
}

/* ---- the end of a request ---- */

static void kicked(uv_timer_t *timer);

static void kick(struct git_pool *pool)
{
    if (!uv_is_closing((uv_handle_t *)&pool->kick))
        uv_timer_start(&pool->kick, kicked, 0, 0);
}

static void finish(struct git_request *request)
{
    request->state = GIT_FINISHED;
    queue_push(&request->pool->finished, request);
    kick(request->pool);
}

/* Counts a request that begins (+1) or ends (-1) to run. */
static void count(struct git_pool *pool, const struct git_request *request, int by)
{
    if (git_op_is_remote(request->op))
        pool->n_remote += (size_t)by;
    if (request->op == GIT_OP_FETCH)
        pool->n_fetches += (size_t)by;
}

/* Takes the request that a worker is at away from it. */
static struct git_request *leave_seat(struct git_pool *pool, struct seat *seat)
{
    struct git_request *request = steal_ptr(seat->request);
    if (request)
        count(pool, request, -1);
    return request;
}

static void request_free(struct git_request *request)
{
    json_decref(request->body);
    json_decref(request->answer);
    free(request);
}

/* ---- workers ---- */

static void kill_seat(struct seat *seat)
{
    if (seat->dying || !seat->process)
        return;
    seat->dying = true;
    git_process_kill(seat->process);
}

/* What became of a worker that will not answer. */
static void describe_end(const struct seat *seat, struct err *err)
{
    if (git_process_timed_out(seat->process))
        err->code = err_set_retryable(err, -ETIMEDOUT, true, "git: no answer within %lld seconds",
                                      (long long)(seat->request->timeout_ms + 999) / 1000);
    else
        err->code =
            err_set_retryable(err, -EIO, true, "git: the worker process ended unexpectedly");
}

static void worker_line(struct git_process *process, const char *line, size_t n)
{
    struct seat *seat = git_process_userdata(process);
    if (!line)
        seat->dying = true;
    if (!seat->request) {
        kill_seat(seat); /* it speaks without being asked */
        return;
    }
    if (!line) {
        describe_end(seat, &seat->request->err);
        finish(leave_seat(seat->pool, seat));
        return;
    }
    struct git_request *request = leave_seat(seat->pool, seat);
    if (git_answer_parse(line, n, seat->id, &request->answer, &request->err) == -EPROTO)
        kill_seat(seat);
    finish(request);
}

static void worker_gone(struct git_process *process)
{
    struct seat *seat = git_process_userdata(process);
    if (seat->process == process) {
        seat->process = NULL;
        seat->dying = false;
    }
    seat->pool->n_processes--;
    kick(seat->pool);
}

static const struct git_process_events worker_events = {worker_line, worker_gone};

static int fill_seat(struct git_pool *pool, struct seat *seat, struct err *err)
{
    if (seat->process)
        return 0;
    pool->n_processes++;
    return git_process_start(pool->loop, pool->argv.items, &worker_events, seat, &seat->process,
                             err);
}

/* Gives a request to an idle worker, starting one if need be. */
static void run(struct git_pool *pool, struct seat *seat, struct git_request *request)
{
    if (!request->body)
        request->err.code =
            err_set(&request->err, -EINVAL, "git: a request with text that is not UTF-8");
    else
        request->err.code = fill_seat(pool, seat, &request->err);
    if (request->err.code) {
        finish(request);
        return;
    }
    seat->id = ++pool->last_id;
    seat->request = request;
    request->state = GIT_RUNNING;
    request->seat = seat;
    count(pool, request, 1);
    json_object_set_new(request->body, "id", json_integer(seat->id));
    struct strbuf line = {0};
    cleanup_free char *text = json_canonical(request->body);
    strbuf_add(&line, text);
    strbuf_addc(&line, '\n');
    size_t n = line.n;
    git_process_ask(seat->process, strbuf_steal(&line), n, request->timeout_ms);
}

/* ---- dispatch ---- */

static struct seat *idle_seat(struct git_pool *pool)
{
    struct seat *unused = NULL;
    for (struct seat *seat = pool->seats; seat < pool->seats + pool->n_seats; seat++) {
        if (seat->request || seat->dying)
            continue;
        if (seat->process)
            return seat;
        unused = unused ? unused : seat;
    }
    return unused;
}

/* One worker is kept for what speaks to nobody, and another for polls: a fetch may take ten times as long. */
static struct git_request *next_request(struct git_pool *pool)
{
    if (pool->local.first)
        return queue_pop(&pool->local);
    size_t most = pool->n_seats > 1 ? pool->n_seats - 1 : 1;
    if (pool->n_remote >= most)
        return NULL;
    const struct git_request *list = pool->lists.first, *fetch = pool->fetches.first;
    bool may_fetch = fetch && pool->n_fetches < (most > 1 ? most - 1 : 1);
    if (may_fetch && (!list || fetch->number < list->number))
        return queue_pop(&pool->fetches);
    return queue_pop(&pool->lists);
}

static void dispatch(struct git_pool *pool)
{
    struct seat *seat;
    while ((seat = idle_seat(pool))) {
        struct git_request *request = next_request(pool);
        if (!request)
            return;
        run(pool, seat, request);
    }
}

static void pool_closed(uv_handle_t *handle)
{
    struct git_pool *pool = handle->data;
    void (*closed)(void *) = pool->closed;
    void *userdata = pool->closed_userdata;
    strvec_done(&pool->argv);
    free(pool->seats);
    free(pool);
    if (closed)
        closed(userdata);
}

/* Calls back for what was finished before this pass, then sees what can run. */
static void kicked(uv_timer_t *timer)
{
    struct git_pool *pool = timer->data;
    struct queue now = pool->finished;
    queue_init(&pool->finished);
    struct git_request *request;
    while ((request = queue_pop(&now))) {
        git_answer_deliver(request);
        request_free(request);
    }
    if (!pool->closing)
        dispatch(pool);
    else if (pool->n_processes == 0 && !pool->finished.first)
        uv_close((uv_handle_t *)&pool->kick, pool_closed);
}

/* ---- the public side ---- */

static void add_option(strvec *argv, const char *name, const char *value)
{
    if (!value)
        return;
    strvec_add(argv, name);
    strvec_add(argv, value);
}

static void add_size(strvec *argv, const char *name, int64_t value)
{
    cleanup_free char *text = value > 0 ? xasprintf("%lld", (long long)value) : NULL;
    add_option(argv, name, text);
}

static void make_argv(strvec *argv, const char *worker, const struct git_pool_options *options)
{
    strvec_add(argv, worker);
    add_option(argv, "--state", options->state_dir);
    add_option(argv, "--ssh", options->ssh_dir);
    add_option(argv, "--ca", options->ca_file);
    add_size(argv, "--mirror-limit", options->mirror_limit);
    add_size(argv, "--context-limit", options->context_limit);
    vec_push(argv, NULL);
}

int git_pool_new(uv_loop_t *loop, const struct git_pool_options *options,
                 struct git_pool **ret_pool, struct err *err)
{
    cleanup_free char *worker = xstrdup(options->worker);
    int r = worker ? 0 : helper_path("sheaf-git-worker", &worker, err);
    if (r < 0)
        return r;
    struct git_pool *pool = xnew(struct git_pool);
    make_argv(&pool->argv, worker, options);
    pool->loop = loop;
    pool->n_seats = options->workers ? options->workers : DEFAULT_WORKERS;
    pool->seats = xcalloc(pool->n_seats, sizeof(*pool->seats));
    for (size_t i = 0; i < pool->n_seats; i++)
        pool->seats[i].pool = pool;
    queue_init(&pool->local);
    queue_init(&pool->lists);
    queue_init(&pool->fetches);
    queue_init(&pool->finished);
    uv_timer_init(loop, &pool->kick);
    pool->kick.data = pool;
    (void)signal(SIGPIPE, SIG_IGN); /* a worker may die while it is written to */
    *ret_pool = pool;
    return 0;
}

void git_request_cancel(struct git_request *request)
{
    if (request->state == GIT_QUEUED)
        queue_remove(queue_of(request), request);
    if (request->state == GIT_RUNNING) {
        kill_seat(request->seat); /* there is no other way to stop it */
        leave_seat(request->pool, request->seat);
    }
    json_decref(steal_ptr(request->answer));
    request->err.code = err_set_retryable(&request->err, -ECANCELED, false, "git: cancelled");
    if (request->state != GIT_FINISHED)
        finish(request);
}

void git_pool_close(struct git_pool *pool, void (*done)(void *userdata), void *userdata)
{
    pool->closing = true;
    pool->closed = done;
    pool->closed_userdata = userdata;
    while (pool->local.first)
        git_request_cancel(pool->local.first);
    while (pool->lists.first)
        git_request_cancel(pool->lists.first);
    while (pool->fetches.first)
        git_request_cancel(pool->fetches.first);
    for (size_t i = 0; i < pool->n_seats; i++) {
        if (pool->seats[i].request)
            git_request_cancel(pool->seats[i].request);
        kill_seat(&pool->seats[i]);
    }
    kick(pool);
}

/* ---- the operations ---- */

static struct git_request *submit(struct git_pool *pool, enum git_op op, json_t *body,
                                  int64_t timeout_ms, void *userdata)
{
    static const int64_t defaults[] = {
        [GIT_OP_LIST] = MINUTE_MS,         [GIT_OP_FETCH] = 10 * MINUTE_MS,
        [GIT_OP_INSPECT] = MINUTE_MS,      [GIT_OP_ANCESTOR] = MINUTE_MS,
        [GIT_OP_ARCHIVE] = 10 * MINUTE_MS,
    };
    struct git_request *request = xnew(struct git_request);
    request->pool = pool;
    request->number = ++pool->last_number;
    request->op = op;
    request->body = body;
    request->timeout_ms = timeout_ms > 0 ? timeout_ms : defaults[op];
    request->userdata = userdata;
    queue_push(queue_of(request), request);
    kick(pool);
    return request;
}

/* A JSON list of the strings; null for NULL. */
static json_t *strings(const strvec *list)
{
    if (!list)
        return json_null();
    json_t *array = json_array();
    VEC_FOREACH (list, text) {
        if (json_array_append_new(array, json_string(*text)) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *login_json(const struct git_login *login)
{
    return json_pack("{s:s?, s:s?, s:s?}", "ssh_key", login->ssh_key, "username", login->username,
                     "password_file", login->password_file);
}

struct git_request *git_pool_list(struct git_pool *pool, const struct git_list_args *args,
                                  git_list_cb cb, void *userdata)
{
    json_t *body = json_pack("{s:s, s:s, s:o, s:o}", "op", "list", "url", args->url, "auth",
                             login_json(&args->login), "patterns", strings(args->patterns));
    struct git_request *request = submit(pool, GIT_OP_LIST, body, args->timeout_ms, userdata);
    request->cb.list = cb;
    return request;
}

struct git_request *git_pool_fetch(struct git_pool *pool, const struct git_fetch_args *args,
                                   git_fetch_cb cb, void *userdata)
{
    json_t *body = json_pack("{s:s, s:s, s:o, s:s, s:o, s:b}", "op", "fetch", "url", args->url,
                             "auth", login_json(&args->login), "mirror", args->mirror, "refs",
                             strings(args->refs), "anew", args->anew);
    struct git_request *request = submit(pool, GIT_OP_FETCH, body, args->timeout_ms, userdata);
    request->cb.fetch = cb;
    return request;
}

struct git_request *git_pool_inspect(struct git_pool *pool, const struct git_inspect_args *args,
                                     git_inspect_cb cb, void *userdata)
{
    json_t *body =
        json_pack("{s:s, s:s, s:s, s:s, s:s?}", "op", "inspect", "mirror", args->mirror, "commit",
                  args->commit, "context", args->context, "dockerfile", args->dockerfile);
    if (args->paths)
        json_object_set_new(body, "paths", strings(args->paths));
    struct git_request *request = submit(pool, GIT_OP_INSPECT, body, args->timeout_ms, userdata);
    request->cb.inspect = cb;
    return request;
}

struct git_request *git_pool_ancestor(struct git_pool *pool, const struct git_ancestor_args *args,
                                      git_ancestor_cb cb, void *userdata)
{
    json_t *body = json_pack("{s:s, s:s, s:s, s:s}", "op", "ancestor", "mirror", args->mirror,
                             "old", args->old, "new", args->new);
    struct git_request *request = submit(pool, GIT_OP_ANCESTOR, body, args->timeout_ms, userdata);
    request->cb.ancestor = cb;
    return request;
}

struct git_request *git_pool_archive(struct git_pool *pool, const struct git_archive_args *args,
                                     git_archive_cb cb, void *userdata)
{
    json_t *body =
        json_pack("{s:s, s:s, s:s, s:s, s:s?, s:s, s:I}", "op", "archive", "mirror", args->mirror,
                  "commit", args->commit, "context", args->context, "dockerfile", args->dockerfile,
                  "output", args->output, "epoch", (json_int_t)args->epoch);
    struct git_request *request = submit(pool, GIT_OP_ARCHIVE, body, args->timeout_ms, userdata);
    request->cb.archive = cb;
    return request;
}
