/* Boards without agents: the agents' protocol over kept connections, and no process for a job.
 *
 * usage: board-load PORT SLOTS JOBS < secrets    (a board's a line)
 *     JOBS > 0: takes leases and answers each with a result, SLOTS at a time on each board, until there were so
 *               many; prints: JOBS SECONDS, from the first poll to the last acknowledged result
 *     JOBS = 0: opens a long poll for each board, prints "holding", and goes on till its input is at an end */
#include "tests/bench/http_conn.h"

#include <unistd.h>

#define BOARDS_MAX 12000
#define DIGEST     "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define MANIFEST   "application/vnd.oci.image.manifest.v1+json"

struct board {
    char secret[128], session[64];
    struct conn poll, *results;
    size_t open; /* results not acknowledged yet */
    long long seq;
};

static struct load load;
static struct board *boards;
static size_t n_boards, ready, slots, wanted, done;

static const char session_body[] =
    "{\"version\":1,\"agent\":\"bench\",\"boot\":\"b\",\"held\":[],\"facts\":{\"platforms\":"
    "[\"linux/amd64\",\"linux/arm64\",\"linux/arm/v7\"],\"emulated\":[],\"slots\":%zu,\"cpus\":4,"
    "\"memory\":4294967296,\"machine\":\"x86_64\",\"kernel\":\"6.1\",\"page_size\":4096,\"kinds\":"
    "[\"rootfs\",\"dockerfile\"],\"builders\":{\"buildah\":\"1.28.2\"},\"sandbox\":[\"userns\"],"
    "\"labels\":[]}}";
static const char poll_body[] =
    "{\"version\":1,\"session\":\"%s\",\"seq\":%lld,\"held\":[],\"free\":%zu,\"load\":0.5,"
    "\"temperature\":null,\"disk_free\":100000000000,\"memory_free\":2000000000,"
    "\"draining\":false}";
static const char result_body[] =
    "{\"version\":1,\"epoch\":%lld,\"outcome\":\"succeeded\",\"kind\":null,\"reason\":null,"
    "\"manifest\":{\"digest\":\"" DIGEST "\",\"size\":1,\"media_type\":\"" MANIFEST
    "\"},\"config_digest\":\"" DIGEST "\",\"content_digest\":\"" DIGEST
    "\",\"layers\":[],\"timings\":{\"context\":1,\"pull\":1,\"recipe\":1,\"layer\":1,\"test\":0,"
    "\"push\":1},\"packages\":[],\"build_root\":null,\"log_size\":0,\"reused_previous\":false}";

static void refused(const char *what, int status, const char *body, size_t n)
{
    fprintf(stderr, "%s: status %d: %.*s\n", what, status, (int)n, body);
    exit(1);
}

/* The text after `name`, up to a quote or a comma; moves *at behind it. False where there is none. */
static bool member(const char **at, const char *name, char *ret, size_t size)
{
    const char *found = strstr(*at, name);
    if (!found)
        return false;
    found += strlen(name);
    size_t n = strcspn(found, "\",}");
    if (n >= size)
        exit(3);
    memcpy(ret, found, n);
    ret[n] = '\0';
    *at = found + n;
    return true;
}

static void poll_again(struct board *b)
{
    char body[512];
    snprintf(body, sizeof(body), poll_body, b->session, ++b->seq, slots);
    conn_send(&b->poll, "POST", "/v1/agent/poll", b->secret, body);
}

static void on_result(struct conn *conn, int status, const char *body, size_t n)
{
    struct board *b = conn->data;
    if (status != 200)
        refused("result", status, body, n);
    done++;
    if (done == wanted)
        load.stopped = true;
    else if (--b->open == 0)
        poll_again(b);
}

static void on_poll(struct conn *conn, int status, const char *body, size_t n)
{
    struct board *b = conn->data;
    char lease[80], secret[80], epoch[24], path[160], result[1024];
    if (status != 200)
        refused("poll", status, body, n);
    cleanup_free char *text = xstrndup(body, n);
    const char *at = text;
    while (b->open < slots && member(&at, "{\"epoch\":", epoch, sizeof(epoch))) {
        if (!member(&at, "\"lease\":\"", lease, sizeof(lease)) ||
            !member(&at, "\"secret\":\"", secret, sizeof(secret)))
            refused("lease", status, body, n);
        snprintf(path, sizeof(path), "/v1/agent/leases/%s/result", lease);
        snprintf(result, sizeof(result), result_body, atoll(epoch));
        conn_send(&b->results[b->open++], "POST", path, secret, result);
    }
    if (!b->open)
        poll_again(b);
}

static void on_session(struct conn *conn, int status, const char *body, size_t n)
{
    struct board *b = conn->data;
    if (status != 200)
        refused("session", status, body, n);
    cleanup_free char *text = xstrndup(body, n);
    const char *at = text;
    if (!member(&at, "\"session\":\"", b->session, sizeof(b->session)))
        refused("session", status, body, n);
    conn->on_answer = on_poll;
    if (++ready == n_boards)
        load.stopped = true;
}

static void read_boards(void)
{
    char line[200];
    boards = xcalloc(BOARDS_MAX, sizeof(*boards));
    while (n_boards < BOARDS_MAX && fgets(line, sizeof(line), stdin) && line[0] != '\n') {
        struct board *b = &boards[n_boards++];
        snprintf(b->secret, sizeof(b->secret), "%.*s", (int)strcspn(line, "\n"), line);
    }
}

static void join(int port)
{
    char body[1024];
    snprintf(body, sizeof(body), session_body, slots);
    for (size_t i = 0; i < n_boards; i++) {
        struct board *b = &boards[i];
        b->poll = (struct conn){.on_answer = on_session, .data = b};
        conn_open(&b->poll, &load, port, NULL);
        conn_send(&b->poll, "POST", "/v1/agent/session", b->secret, body);
        b->results = xcalloc(slots, sizeof(*b->results));
        for (size_t k = 0; wanted && k < slots; k++) {
            b->results[k] = (struct conn){.on_answer = on_result, .data = b};
            conn_open(&b->results[k], &load, port, NULL);
        }
    }
    load_run(&load, 0);
    load.stopped = false;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    slots = (size_t)atoi(argv[2]);
    wanted = (size_t)atoi(argv[3]);
    load_init(&load);
    read_boards();
    join(atoi(argv[1]));
    int64_t begun = load_now();
    for (size_t i = 0; i < n_boards; i++)
        poll_again(&boards[i]);
    if (wanted) {
        load_run(&load, 0);
        printf("%zu %.6f\n", done, (double)(load_now() - begun) / 1e9);
        return 0;
    }
    load_run(&load, 300);
    puts("holding");
    fflush(stdout);
    char end;
    return (int)read(STDIN_FILENO, &end, 1);
}
