/* Boards: the agents' own session (agent/session.c), on a network that delays and loses, with jobs that end as the
 * history says. */
#include "tests/model/check.h"

#include "common/oci.h"

#include <math.h>

/* ---- coming and going ---- */

void boards_init(struct sim *s)
{
    struct rng r = {mix2(s->spec.seed, 9)};
    for (unsigned i = 0; i < s->spec.n_boards; i++) {
        struct board_sim *b = &s->board[i];
        b->name = board_name(i);
        b->native = i == 0 ? 1 : 1 + rng_below(&r, 7);
        if (i == 0 && mix2(s->spec.seed, 91) % 2)
            b->native = 7; /* else hardly anything of most farms is published */
        b->buildah = (unsigned)(mix3(s->spec.seed, i, 92) % 6);
        b->emulated = rng_one_in(&r, 4) ? 7 & ~b->native : 0;
        b->slots = 1 + rng_below(&r, 2);
        b->bad = i > 0 && rng_one_in(&r, 5);
        b->memory = (int64_t)(1 + rng_below(&r, 2)) << 30;
    }
}

/* Of its Debian; NULL: none is installed. */
static const char *const buildahs[6] = {"1.28.2", "1.28.2", "1.28.2", "1.33.0", "1.39.0", NULL};

static struct wire_facts facts_of(const struct board_sim *b)
{
    struct wire_facts f = {.slots = b->slots, .cpus = 2, .memory = b->memory, .page_size = 4096};
    f.machine = f.kernel = (char *)(uintptr_t) "x";
    for (unsigned p = 0; p < N_PLATFORMS; p++) {
        if (b->native >> p & 1)
            strvec_add(&f.platforms, platform_info((enum platform)p)->name);
        if (b->emulated >> p & 1)
            strvec_add(&f.emulated, platform_info((enum platform)p)->name);
    }
    strvec_add(&f.kinds, "rootfs");
    if (buildahs[b->buildah % 6]) {
        strvec_add(&f.kinds, "dockerfile");
        vec_push(&f.builders,
                 (struct wire_pair){xstrdup("buildah"), xstrdup(buildahs[b->buildah % 6])});
    }
    return f;
}

static void running_done(struct running *r)
{
    free(r->secret);
    free(r->key);
    free(r->image);
    free(r->repository);
    wire_previous_done(&r->previous);
    strvec_done(&r->base_repositories);
    strvec_done(&r->base_digests);
    wire_result_done(&r->result);
}

static struct running *find_running(struct board_sim *b, const char *lease)
{
    VEC_FOREACH (&b->running, r)
        if (str_eq(r->lease, lease))
            return r;
    return NULL;
}

void board_added(struct sim *s, unsigned i)
{
    struct board_sim *b = &s->board[i];
    char hash[72];
    if (b->added)
        return;
    digest_from(mix2(i, 4), hash);
    model_on_board_added(sim_turn(s), b->name, hash);
    b->added = true;
}

void board_up(struct sim *s, unsigned i)
{
    struct board_sim *b = &s->board[i];
    if (b->up)
        return;
    board_added(s, i);
    struct session_settings settings = {.slots = b->slots, .seed = i + 1};
    b->up = true;
    b->boot++;
    b->session = session_new(&settings);
    VEC_FOREACH (&b->running, r)
        session_restore(b->session, r->lease, r->epoch);
    session_start(b->session, s->now);
    session_set_ready(b->session, s->now, true);
}

static void rpc_done(struct rpc *rpc)
{
    wire_held_list_done(&rpc->held);
}

static void drop_rpcs(struct sim *s, unsigned board)
{
    for (size_t i = s->rpcs.n; i-- > 0;) {
        struct rpc *rpc = &s->rpcs.items[i];
        if (rpc->board != board)
            continue;
        if (rpc->token && rpc->kind == RPC_POLL && s->m)
            model_on_poll_closed(sim_turn(s), rpc->token);
        rpc_done(rpc);
        vec_remove(&s->rpcs, i);
    }
}

/* What it had begun it will report as lost, once it is back: the spool is on its disk. */
void board_down(struct sim *s, unsigned i)
{
    struct board_sim *b = &s->board[i];
    if (!b->up)
        return;
    b->up = false;
    session_free(b->session);
    b->session = NULL;
    drop_rpcs(s, i);
    VEC_FOREACH (&b->running, r) {
        if (r->ended)
            continue;
        r->ended = true;
        r->result = (struct wire_result){.epoch = r->epoch, .outcome = WIRE_LOST};
    }
}

void boards_done(struct sim *s)
{
    for (unsigned i = 0; i < MAX_BOARDS; i++) {
        struct board_sim *b = &s->board[i];
        session_free(b->session);
        VEC_FOREACH (&b->running, r)
            running_done(r);
        vec_free(&b->running);
    }
    VEC_FOREACH (&s->rpcs, rpc)
        rpc_done(rpc);
    vec_free(&s->rpcs);
}

/* ---- what the agent wants done ---- */

static void begin(struct sim *s, struct board_sim *b, struct wire_lease *l)
{
    check_granted(s, l->lease, l->epoch, l->secret);
    struct running r = {.epoch = l->epoch};
    snprintf(r.lease, sizeof(r.lease), "%s", l->lease);
    r.secret = xstrdup(l->secret);
    r.key = xstrdup(l->job.key);
    r.image = xstrdup(l->job.image);
    r.repository = xstrdup(l->job.repository);
    r.docker = l->job.media_type == WIRE_MEDIA_DOCKER;
    platform_parse(l->job.platform, &r.platform, NULL);
    if (l->job.previous)
        wire_previous_copy(&r.previous, l->job.previous);
    VEC_FOREACH (&l->job.bases, base) {
        strvec_add(&r.base_repositories, base->repository);
        strvec_add(&r.base_digests, base->digest);
    }
    if (!(b->native >> r.platform & 1))
        covered(COVERED_EMULATED);
    vec_push(&b->running, r);
    wire_lease_done(l);
    free(l);
}

static void send(struct sim *s, unsigned board, enum rpc_kind kind, const struct session_action *a)
{
    struct board_sim *b = &s->board[board];
    struct rpc rpc = {.kind = kind, .board = board, .seq = a->seq};
    if (kind == RPC_RESULT)
        snprintf(rpc.lease, sizeof(rpc.lease), "%s", a->lease);
    else if (!b->mute)
        session_held(b->session, &rpc.held);
    rpc.free = session_free_slots(b->session);
    rpc.draining = session_is_draining(b->session);
    vec_push(&s->rpcs, rpc);
}

static void drop_poll(struct sim *s, unsigned board, int64_t seq)
{
    for (size_t i = 0; i < s->rpcs.n; i++) {
        struct rpc *rpc = &s->rpcs.items[i];
        if (rpc->board != board || rpc->kind != RPC_POLL || rpc->seq != seq)
            continue;
        if (rpc->token)
            model_on_poll_closed(sim_turn(s), rpc->token);
        rpc_done(rpc);
        vec_remove(&s->rpcs, i);
        return;
    }
}

static void forget(struct board_sim *b, const char *lease)
{
    for (size_t i = 0; i < b->running.n; i++)
        if (str_eq(b->running.items[i].lease, lease)) {
            running_done(&b->running.items[i]);
            vec_remove(&b->running, i);
            return;
        }
}

static void act(struct sim *s, unsigned board, struct session_action *a)
{
    struct board_sim *b = &s->board[board];
    switch (a->kind) {
    case SESSION_JOIN:
        send(s, board, RPC_JOIN, a);
        return;
    case SESSION_POLL:
        send(s, board, RPC_POLL, a);
        return;
    case SESSION_DROP_POLL:
        drop_poll(s, board, a->seq);
        return;
    case SESSION_RUN:
        begin(s, b, steal_ptr(a->grant));
        return;
    case SESSION_CANCEL:
        find_running(b, a->lease)->cancelled = true;
        return;
    case SESSION_FLUSH:
        session_log_sent(b->session, s->now, a->lease);
        return;
    case SESSION_SEND_RESULT:
        send(s, board, RPC_RESULT, a);
        return;
    case SESSION_FORGET:
        forget(b, a->lease);
        return;
    case SESSION_QUIT:
        return;
    }
}

static void pump_actions(struct sim *s)
{
    struct session_action a;
    for (unsigned i = 0; i < s->spec.n_boards; i++)
        while (s->board[i].session && session_next(s->board[i].session, &a))
            act(s, i, &a);
}

/* ---- calls ---- */

static void fail_rpc(struct sim *s, const struct rpc *rpc, bool gone)
{
    struct session *session = s->board[rpc->board].session;
    if (!session)
        return;
    if (rpc->kind == RPC_JOIN)
        session_join_failed(session, s->now);
    else if (rpc->kind == RPC_POLL)
        session_poll_failed(session, s->now, rpc->seq, gone);
    else
        session_result_failed(session, s->now, rpc->lease);
}

static struct rpc take_rpc(struct sim *s, size_t at)
{
    struct rpc rpc = s->rpcs.items[at];
    vec_remove(&s->rpcs, at);
    return rpc;
}

static void lose(struct sim *s, size_t at)
{
    struct rpc rpc = take_rpc(s, at);
    fail_rpc(s, &rpc, false);
    rpc_done(&rpc);
}

static void check_held(struct sim *s, const struct rpc *rpc)
{
    VEC_FOREACH (&rpc->held, h)
        check_listed(s, h->lease, h->epoch, s->board[rpc->board].name);
}

static void join_arrives(struct sim *s, struct rpc *rpc)
{
    struct board_sim *b = &s->board[rpc->board];
    cleanup_free char *boot = xasprintf("boot%u", b->boot);
    struct wire_session_request req = {
        .agent = (char *)(uintptr_t) "1", .boot = boot, .facts = facts_of(b)};
    req.held.items = rpc->held.items;
    req.held.n = rpc->held.n;
    check_held(s, rpc);
    model_on_session(sim_turn(s), b->name, &req, rpc->token);
    wire_facts_done(&(struct wire_facts){.platforms = req.facts.platforms,
                                         .emulated = req.facts.emulated,
                                         .kinds = req.facts.kinds,
                                         .builders = req.facts.builders});
}

static void poll_arrives(struct sim *s, struct rpc *rpc)
{
    struct board_sim *b = &s->board[rpc->board];
    struct wire_poll_request req = {.session = (char *)(uintptr_t)session_id(b->session),
                                    .seq = rpc->seq,
                                    .free = rpc->free,
                                    .temperature = b->hot ? 95 : 40,
                                    .disk_free = b->full ? 0 : (int64_t)10 << 30,
                                    .memory_free = 1 << 30,
                                    .draining = rpc->draining};
    req.held.items = rpc->held.items;
    req.held.n = rpc->held.n;
    check_held(s, rpc);
    model_on_poll(sim_turn(s), b->name, &req, rpc->token);
}

/* As api_agent.c: the bearer of a secret that is no lease's has nothing to say. */
static bool result_arrives(struct sim *s, struct rpc *rpc)
{
    struct running *r = find_running(&s->board[rpc->board], rpc->lease);
    struct lease_rights rights;
    if (model_lease_rights(s->m, r->lease, r->secret, &rights) < 0)
        return false;
    sim_turn(s);
    check_stale(s, r->lease, &r->result);
    model_on_result(s->m, r->lease, &r->result, rpc->token);
    check_again(s, r->lease, &r->result);
    return true;
}

static void result_answered(struct sim *s, struct rpc *rpc, int status)
{
    struct board_sim *b = &s->board[rpc->board];
    struct running *r = find_running(b, rpc->lease);
    check_result(s, r, status);
    session_result_sent(b->session, s->now, rpc->lease);
}

void rpc_deliver(struct sim *s, size_t at, bool lost)
{
    if (at >= s->rpcs.n || s->rpcs.items[at].token)
        return;
    if (lost || (s->stalled && s->busy)) {
        lose(s, at);
        return;
    }
    struct rpc *rpc = &s->rpcs.items[at];
    rpc->token = ++s->last_token;
    static const char *const words[] = {"a session", "a poll", "the result"};
    sim_say(s, "board %s: %s %s arrives", s->board[rpc->board].name, words[rpc->kind],
            rpc->kind == RPC_RESULT ? rpc->lease : "");
    struct rpc call = *rpc; /* answers come after the commit: never from within */
    if (call.kind == RPC_JOIN)
        join_arrives(s, &call);
    else if (call.kind == RPC_POLL)
        poll_arrives(s, &call);
    else if (!result_arrives(s, &call)) {
        call = take_rpc(s, at);
        result_answered(s, &call, 403);
        rpc_done(&call);
    }
}

static void answered(struct sim *s, struct rpc *rpc, const char *body)
{
    struct board_sim *b = &s->board[rpc->board];
    struct err err = ERR_INIT;
    if (rpc->kind == RPC_JOIN) {
        struct wire_session_response answer;
        if (wire_session_response_decode(body, strlen(body), &answer, &err) < 0)
            sim_fail(s, "inv00_answers_are_sound", "%s", err.text);
        session_joined(b->session, s->now, &answer);
        wire_session_response_done(&answer);
        return;
    }
    struct wire_poll_response answer;
    if (wire_poll_response_decode(body, strlen(body), &answer, &err) < 0)
        sim_fail(s, "inv00_answers_are_sound", "%s", err.text);
    session_polled(b->session, s->now, rpc->seq, &answer);
    wire_poll_response_done(&answer);
}

void rpc_reply(struct sim *s, uint64_t token, int status, const char *body)
{
    size_t at = 0;
    while (at < s->rpcs.n && s->rpcs.items[at].token != token)
        at++;
    if (at == s->rpcs.n)
        return; /* the caller has gone */
    struct rpc rpc = take_rpc(s, at);
    struct board_sim *b = &s->board[rpc.board];
    bool lost = b->net == NET_CUT || b->lose_replies > 0;
    if (lost) {
        b->lose_replies -= b->lose_replies > 0;
        covered(COVERED_LOST_ANSWERS);
        fail_rpc(s, &rpc, false);
    } else if (rpc.kind == RPC_RESULT) {
        result_answered(s, &rpc, status);
    } else if (status == 200) {
        answered(s, &rpc, body);
    } else {
        fail_rpc(s, &rpc, status == 410);
    }
    rpc_done(&rpc);
}

void rpcs_fail(struct sim *s)
{
    for (size_t i = s->rpcs.n; i-- > 0;)
        if (s->rpcs.items[i].token)
            lose(s, i);
}

/* ---- the network ---- */

static bool pump_once(struct sim *s)
{
    pump_actions(s);
    for (size_t i = 0; i < s->rpcs.n; i++) {
        const struct rpc *rpc = &s->rpcs.items[i];
        enum net net = s->board[rpc->board].net;
        if (rpc->token || net == NET_SLOW)
            continue;
        rpc_deliver(s, i, net == NET_CUT);
        sim_pass(s);
        return true;
    }
    return false;
}

void boards_pump(struct sim *s)
{
    for (unsigned n = 0; pump_once(s); n++)
        if (n > 400)
            sim_fail(s, "inv00_time_goes_on", "boards and coordinator talk without end");
}

/* ---- jobs ---- */

/* A third of all changes change nothing that can be seen. */
void content_of(const char *key, bool same, char ret[72])
{
    digest_from(same ? 12345 : mix2(mix_text(key), 3), ret);
}

static void succeed(struct sim *s, struct running *r, bool same)
{
    char content[72], manifest[72], config[72];
    uint64_t image = mix3(mix_text(r->image), r->platform, 2);
    if (same)
        digest_from(image, content);
    else
        content_of(r->key, false, content);
    digest_from(mix2(mix_text(content), mix_text(r->key)), manifest);
    digest_from(mix_text(manifest), config);
    struct registry_repository *repo = registry_repository(&s->registry, r->repository);
    bool reuse = r->previous.content && str_eq(r->previous.content, content) &&
                 registry_manifest(repo, r->previous.manifest);
    const char *media_type = r->docker ? DOCKER_TYPE_MANIFEST : OCI_TYPE_MANIFEST;
    r->result.outcome = WIRE_SUCCEEDED;
    r->result.manifest = xnew(struct wire_descriptor);
    r->result.manifest->digest = xstrdup(reuse ? r->previous.manifest : manifest);
    r->result.manifest->size = 1000;
    r->result.manifest->media_type = xstrdup(media_type);
    r->result.config_digest = xstrdup(config);
    r->result.content_digest = xstrdup(content);
    r->result.reused_previous = reuse;
    registry_push_child(repo, r->result.manifest->digest, media_type, r->platform);
}

/* Pulled and pushed through the gateway, which serves the bearers of current leases alone. */
static bool can_push(struct sim *s, const struct running *r)
{
    struct lease_rights rights;
    return !s->registry.away && model_lease_rights(s->m, r->lease, r->secret, &rights) == 0 &&
           rights.current;
}

static void fail(struct running *r, enum wire_failure kind)
{
    r->result.outcome = WIRE_FAILED;
    r->result.kind = kind;
    r->result.reason = xstrdup("it broke");
}

void job_ends(struct sim *s, unsigned board, size_t at, enum ending ending)
{
    static const enum wire_failure kinds[] = {
        [END_INFRA] = WIRE_FAILURE_INFRA,       [END_RECIPE] = WIRE_FAILURE_RECIPE,
        [END_TIMEOUT] = WIRE_FAILURE_TIMEOUT,   [END_MEMORY] = WIRE_FAILURE_MEMORY,
        [END_REJECTED] = WIRE_FAILURE_REJECTED,
    };
    struct board_sim *b = &s->board[board];
    if (!b->up || at >= b->running.n || b->running.items[at].ended)
        return;
    struct running *r = &b->running.items[at];
    r->ended = true;
    r->result.epoch = r->epoch;
    if (r->cancelled)
        r->result.outcome = WIRE_CANCELLED;
    else if (ending == END_LOST)
        r->result.outcome = WIRE_LOST;
    else if (ending > END_SAME)
        fail(r, kinds[ending]);
    else if (b->bad)
        fail(r, WIRE_FAILURE_RECIPE);
    else if (!can_push(s, r))
        fail(r, WIRE_FAILURE_INFRA);
    else
        succeed(s, r, ending == END_SAME);
    sim_say(s, "board %s: %s of %s for %s ends: %s", b->name, r->lease, r->image,
            platform_info(r->platform)->name, wire_outcome_name(r->result.outcome));
    session_job_ended(b->session, s->now, r->lease);
}
