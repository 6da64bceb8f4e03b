/* usage: http-load PORT PATH CONNECTIONS MS     GETs PATH on each kept connection, again and again
 * prints: REQUESTS SECONDS BYTES (of one answer) */
#include "tests/bench/http_conn.h"

static size_t answers, size;

static void on_answer(struct conn *conn, int status, const char *body, size_t n)
{
    (void)body;
    if (status != 200) {
        fprintf(stderr, "status %d\n", status);
        exit(1);
    }
    answers++;
    size = n;
    conn_send(conn, "GET", conn->data, NULL, NULL);
}

int main(int argc, char **argv)
{
    struct load load;
    if (argc != 5)
        return 2;
    size_t n = (size_t)atoi(argv[3]);
    struct conn *conns = xcalloc(n, sizeof(*conns));
    load_init(&load);
    for (size_t i = 0; i < n; i++) {
        conns[i] = (struct conn){.on_answer = on_answer, .data = argv[2]};
        conn_open(&conns[i], &load, atoi(argv[1]), NULL);
        conn_send(&conns[i], "GET", argv[2], NULL, NULL);
    }
    int64_t begun = load_now();
    load_run(&load, atoi(argv[4]));
    printf("%zu %.6f %zu\n", answers, (double)(load_now() - begun) / 1e9, size);
    return 0;
}
