#include "agent/agent.h"

#include "agent/board_facts.h"
#include "agent/helper_run.h"
#include "agent/log_sender.h"
#include "agent/runner.h"
#include "agent/session_io.h"
#include "agent/vitals.h"
#include "common/clock.h"
#include "common/helper_path.h"
#include "common/notify.h"

#include <errno.h>
#include <malloc.h>
#include <sys/random.h>

#define FACTS_MS 120000

/* A held lease as the agent sees it. */
struct work {
    struct spool_job *job;
    struct log_sender *sender;
    bool refused; /* its result was; what stands now says so */
};

struct agent {
    uv_loop_t *loop;
    const struct settings *settings;
    char *helper, *cache, *buildroots, boot[33];
    struct spool *spool;
    struct session *session;
    struct http_client *client;
    struct session_io *io;
    struct runner *runner;
    struct wire_facts facts;
    struct helper_run *facts_run, *sweep_run;
    VEC(struct work) works;
    uv_timer_t timer, watchdog;
    bool connected; /* what the senders were told */
    bool pumping, closing;
};

static void pump(struct agent *agent);

static int64_t now(void)
{
    return clock_mono_ms();
}

static struct work *find_work(struct agent *agent, const char *lease)
{
    VEC_FOREACH (&agent->works, work)
        if (strcmp(work->job->lease, lease) == 0)
            return work;
    return NULL;
}

/* ---- logs ---- */

static void on_log_sent(void *arg, const char *lease)
{
    struct agent *agent = arg;
    session_log_sent(agent->session, now(), lease);
    pump(agent);
}

static void add_work(struct agent *agent, struct spool_job *job)
{
    struct log_sender_options o = {
        .client = agent->client,
        .coordinator = agent->settings->coordinator,
        .job = job,
        .online = agent->connected,
        .on_sent = on_log_sent,
        .arg = agent,
    };
    vec_push(&agent->works, (struct work){.job = job, .sender = log_sender_new(&o)});
}

static void on_job_output(void *arg, const char *lease)
{
    struct work *work = find_work(arg, lease);
    if (work && work->sender)
        log_sender_wake(work->sender);
}

static void on_job_ended(void *arg, const char *lease)
{
    struct agent *agent = arg;
    session_job_ended(agent->session, now(), lease);
    pump(agent);
}

/* ---- sweeping ---- */

static void sweep(struct agent *agent);

static void on_swept(void *arg, const char *failure, const char *output, size_t n)
{
    struct agent *agent = arg;
    agent->sweep_run = NULL;
    if (failure)
        log_warning("sweep: %s", failure);
    spool_trash_swept(agent->spool);
    session_set_ready(agent->session, now(), true);
    pump(agent);
}

/* What jobs left behind is unmounted and removed by the helper, beside running jobs: the spool has moved
 * it to a folder of its own. */
static void sweep(struct agent *agent)
{
    if (agent->sweep_run || agent->closing)
        return;
    struct err err = ERR_INIT;
    char *args[] = {agent->helper, (char *)"--sweep", (char *)spool_trash(agent->spool), NULL};
    struct helper_run_options o = {.args = args, .done = on_swept, .arg = agent};
    if (helper_run_start(agent->loop, &o, &agent->sweep_run, &err) == 0)
        return;
    log_warning("sweep: %s", err.text);
    session_set_ready(agent->session, now(), true);
}

/* ---- what the session wants done ---- */

static void do_poll(struct agent *agent, int64_t seq)
{
    struct session *s = agent->session;
    struct vitals v;
    vitals_read(agent->settings->state, "/sys/class/thermal", &v);
    struct wire_poll_request request = {
        .session = (char *)session_id(s),
        .seq = seq,
        .free = session_free_slots(s),
        .load = v.load,
        .temperature = v.temperature,
        .disk_free = v.disk_free,
        .memory_free = v.memory_free,
        .draining = session_is_draining(s),
    };
    session_held(s, &request.held);
    session_io_poll(agent->io, &request, session_poll_ms(s));
    wire_held_list_done(&request.held);
}

static void report_failure(struct spool_job *job, const char *reason)
{
    struct wire_result result = {.epoch = job->epoch,
                                 .outcome = WIRE_FAILED,
                                 .kind = WIRE_FAILURE_INFRA,
                                 .reason = (char *)reason};
    log_warning("lease %s: %s", job->lease, reason);
    spool_set_result(job, &result);
}

static void do_run(struct agent *agent, struct wire_lease *grant)
{
    struct err err = ERR_INIT;
    struct spool_job *job;
    struct assignment assignment = {
        .coordinator = agent->settings->coordinator,
        .lease = *grant,
        .options = {.emulated = agent->settings->emulated.n > 0,
                    .cache = agent->cache,
                    .cache_limit = agent->settings->cache_limit,
                    .buildroots = agent->buildroots,
                    .builder = agent->settings->builder},
    };
    log_info("lease %s: %s for %s", grant->lease, grant->job.track, grant->job.platform);
    int r = spool_add(agent->spool, &assignment, &job, &err);
    add_work(agent, job);
    if (r < 0)
        report_failure(job, err.text);
    else
        r = runner_start(agent->runner, job, &err);
    if (r < 0)
        session_job_ended(agent->session, now(), job->lease);
    wire_lease_done(grant);
    free(grant);
}

static void do_send_result(struct agent *agent, const char *lease)
{
    struct work *work = find_work(agent, lease);
    struct wire_result result;
    struct err err = ERR_INIT;
    if (spool_result(work->job, &result, &err) < 0) {
        report_failure(work->job, err.text);
        if (spool_result(work->job, &result, &err) < 0) {
            log_error("lease %s: %s; dropped", lease, err.text);
            session_result_sent(agent->session, now(), lease);
            return;
        }
    }
    session_io_send_result(agent->io, lease, work->job->secret, &result);
    wire_result_done(&result);
}

static void do_forget(struct agent *agent, const char *lease)
{
    struct work *work = find_work(agent, lease);
    log_sender_free(work->sender);
    if (spool_remove(agent->spool, work->job))
        sweep(agent);
    vec_remove(&agent->works, (size_t)(work - agent->works.items));
    malloc_trim(0); /* results can be large, and this program idles most of its life */
}

static void shut(struct agent *agent);

static void perform(struct agent *agent, struct session_action *a)
{
    switch (a->kind) {
    case SESSION_JOIN:
        session_io_join(agent->io, &agent->facts, agent->session);
        break;
    case SESSION_POLL:
        do_poll(agent, a->seq);
        break;
    case SESSION_DROP_POLL:
        session_io_drop_poll(agent->io, a->seq);
        break;
    case SESSION_RUN:
        do_run(agent, a->grant);
        break;
    case SESSION_CANCEL:
        runner_end(agent->runner, a->lease,
                   session_is_stopping(agent->session) ? WIRE_LOST : WIRE_CANCELLED);
        break;
    case SESSION_FLUSH:
        log_sender_finish(find_work(agent, a->lease)->sender);
        break;
    case SESSION_SEND_RESULT:
        do_send_result(agent, a->lease);
        break;
    case SESSION_FORGET:
        do_forget(agent, a->lease);
        break;
    case SESSION_QUIT:
        shut(agent);
        break;
    }
}

/* ---- the pump ---- */

static void tell_senders(struct agent *agent)
{
    bool connected = session_is_connected(agent->session);
    if (connected == agent->connected)
        return;
    agent->connected = connected;
    VEC_FOREACH (&agent->works, work)
        log_sender_set_online(work->sender, connected);
    if (connected)
        log_info("connected to %s as board %s", agent->settings->coordinator,
                 session_board(agent->session));
}

static void tell_manager(struct agent *agent)
{
    struct session *s = agent->session;
    notify_status("%s %s; %zu of %lld slots busy, %zu results to report%s",
                  agent->connected ? "connected to" : "waiting for", agent->settings->coordinator,
                  session_running(s), (long long)agent->settings->slots, session_unacknowledged(s),
                  session_is_stopping(s)   ? "; stopping"
                  : session_is_draining(s) ? "; draining"
                                           : "");
}

static void on_timer(uv_timer_t *timer)
{
    struct agent *agent = timer->data;
    session_tick(agent->session, now());
    pump(agent);
}

static void arm_timer(struct agent *agent)
{
    int64_t at = session_deadline(agent->session), wait = at - now();
    if (at == SESSION_NEVER)
        uv_timer_stop(&agent->timer);
    else
        uv_timer_start(&agent->timer, on_timer, wait > 0 ? (uint64_t)wait : 0, 0);
}

/* Performs what the session decided. Performing can be an event of its own; the outermost call takes
 * what that leads to. */
static void pump(struct agent *agent)
{
    struct session_action action;
    if (agent->pumping || agent->closing)
        return;
    agent->pumping = true;
    while (!agent->closing && session_next(agent->session, &action))
        perform(agent, &action);
    agent->pumping = false;
    if (agent->closing)
        return;
    tell_senders(agent);
    tell_manager(agent);
    arm_timer(agent);
}

/* ---- the calls' answers ---- */

static void on_joined(void *arg, const struct wire_session_response *answer)
{
    struct agent *agent = arg;
    session_joined(agent->session, now(), answer);
    pump(agent);
}

static void on_join_failed(void *arg)
{
    struct agent *agent = arg;
    session_join_failed(agent->session, now());
    pump(agent);
}

static void on_polled(void *arg, int64_t seq, struct wire_poll_response *answer)
{
    struct agent *agent = arg;
    session_polled(agent->session, now(), seq, answer);
    pump(agent);
}

static void on_poll_failed(void *arg, int64_t seq, bool gone)
{
    struct agent *agent = arg;
    session_poll_failed(agent->session, now(), seq, gone);
    pump(agent);
}

static void on_result_sent(void *arg, const char *lease)
{
    struct agent *agent = arg;
    session_result_sent(agent->session, now(), lease);
    pump(agent);
}

/* A result that will never be taken is replaced by one that says so; if not even that is taken, it is
 * dropped. */
static void on_result_failed(void *arg, const char *lease, bool refused)
{
    struct agent *agent = arg;
    struct work *work = find_work(agent, lease);
    if (refused && work->refused) {
        on_result_sent(agent, lease);
        return;
    }
    if (refused)
        report_failure(work->job, "the coordinator refused the job's result as malformed");
    work->refused = refused;
    session_result_failed(agent->session, now(), lease);
    pump(agent);
}

/* ---- start ---- */

static void on_facts(void *arg, const char *failure, const char *output, size_t n)
{
    struct agent *agent = arg;
    struct err err = ERR_INIT;
    agent->facts_run = NULL;
    if (agent->closing)
        return;
    int r = failure ? err_set(&err, -EIO, "%s", failure)
                    : board_facts_take(output, n, agent->settings, &agent->facts, &err);
    if (r < 0) {
        log_error("this board offers nothing: sheaf-job --facts: %s", err.text);
        board_facts_none(agent->settings, &agent->facts);
    }
    session_start(agent->session, now());
    notify_ready();
    pump(agent);
}

static int find_facts(struct agent *agent, struct err *err)
{
    char *args[] = {agent->helper, (char *)"--facts",
                    agent->settings->emulated.n > 0 ? (char *)"--emulated" : NULL, NULL};
    struct helper_run_options o = {
        .args = args, .limit_ms = FACTS_MS, .done = on_facts, .arg = agent};
    return helper_run_start(agent->loop, &o, &agent->facts_run, err);
}

static void on_watchdog(uv_timer_t *timer)
{
    notify_watchdog();
}

static void restore_works(struct agent *agent)
{
    for (size_t i = 0; i < spool_count(agent->spool); i++) {
        struct spool_job *job = spool_at(agent->spool, i);
        session_restore(agent->session, job->lease, job->epoch);
        add_work(agent, job);
        log_info("lease %s: left by an earlier run; to be reported", job->lease);
    }
}

static void make_boot(struct agent *agent, uint64_t *ret_seed)
{
    unsigned char bytes[16] = {0};
    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
        memcpy(bytes, &(int64_t){clock_wall_ms()}, sizeof(int64_t));
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(agent->boot + 2 * i, 3, "%02x", bytes[i]);
    memcpy(ret_seed, bytes, sizeof(*ret_seed));
}

static void make_parts(struct agent *agent)
{
    static const struct session_io_events events = {
        .joined = on_joined,
        .join_failed = on_join_failed,
        .polled = on_polled,
        .poll_failed = on_poll_failed,
        .result_sent = on_result_sent,
        .result_failed = on_result_failed,
    };
    struct session_settings session = {.slots = agent->settings->slots,
                                       .stop_ms = agent->settings->kill_after * 1000 + 5000};
    make_boot(agent, &session.seed);
    agent->session = session_new(&session);
    agent->client = http_client_new(agent->loop);
    struct session_io_options io = {
        .client = agent->client,
        .coordinator = agent->settings->coordinator,
        .secret = agent->settings->secret,
        .boot = agent->boot,
        .events = &events,
        .arg = agent,
    };
    agent->io = session_io_new(&io);
    struct runner_options runner = {
        .loop = agent->loop,
        .helper = agent->helper,
        .kill_ms = agent->settings->kill_after * 1000,
        .on_output = on_job_output,
        .on_ended = on_job_ended,
        .arg = agent,
    };
    agent->runner = runner_new(&runner);
}

static void start_timers(struct agent *agent)
{
    agent->timer.data = agent->watchdog.data = agent;
    uv_timer_init(agent->loop, &agent->timer);
    uv_timer_init(agent->loop, &agent->watchdog);
    uint64_t period = (uint64_t)notify_watchdog_ms();
    if (period > 0)
        uv_timer_start(&agent->watchdog, on_watchdog, period, period);
}

int agent_start(uv_loop_t *loop, const struct settings *settings, struct agent **ret,
                struct err *err)
{
    cleanup_free char *helper = xstrdup(settings->helper);
    struct spool *spool = NULL;
    int r = helper ? 0 : helper_path("sheaf-job", &helper, err);
    if (r == 0)
        r = spool_open(settings->state, settings->log_limit, &spool, err);
    if (r < 0)
        return r;
    struct agent *agent = xnew(struct agent);
    agent->loop = loop;
    agent->settings = settings;
    agent->helper = steal_ptr(helper);
    agent->spool = spool;
    agent->cache = xasprintf("%s/cache", settings->state);
    agent->buildroots = xasprintf("%s/buildroots", settings->state);
    make_parts(agent);
    start_timers(agent);
    restore_works(agent);
    r = find_facts(agent, err);
    if (r < 0) {
        shut(agent);
        uv_run(loop, UV_RUN_DEFAULT);
        agent_free(agent);
        return r;
    }
    sweep(agent);
    *ret = agent;
    return 0;
}

/* ---- end ---- */

void agent_set_draining(struct agent *agent, bool draining)
{
    log_info(draining ? "draining: no new leases are taken" : "new leases are taken again");
    session_set_draining(agent->session, now(), draining);
    pump(agent);
}

void agent_stop(struct agent *agent)
{
    if (session_is_stopping(agent->session)) {
        shut(agent);
        return;
    }
    log_info("stopping");
    notify_stopping();
    session_stop(agent->session, now());
    pump(agent);
}

/* Lets go of everything; what is not reported stays on disk for the next start. */
static void shut(struct agent *agent)
{
    if (agent->closing)
        return;
    agent->closing = true;
    session_io_free(steal_ptr(agent->io));
    VEC_FOREACH (&agent->works, work)
        log_sender_free(steal_ptr(work->sender));
    runner_kill_all(agent->runner);
    if (agent->facts_run)
        helper_run_kill(agent->facts_run);
    if (agent->sweep_run)
        helper_run_kill(agent->sweep_run);
    uv_close((uv_handle_t *)&agent->timer, NULL);
    uv_close((uv_handle_t *)&agent->watchdog, NULL);
    http_client_free(agent->client);
}

void agent_free(struct agent *agent)
{
    if (!agent)
        return;
    runner_free(agent->runner);
    session_free(agent->session);
    spool_close(agent->spool);
    wire_facts_done(&agent->facts);
    vec_free(&agent->works);
    free(agent->helper);
    free(agent->cache);
    free(agent->buildroots);
    free(agent);
}
