/* The HTTP server through real sockets: the bytes on the wire are written and read here. */
#include "tests/lib/test.h"

#include "common/clock.h"
#include "common/mem.h"
#include "tests/lib/http_app.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct http_app *app;

static void set_limit(int fd)
{
    struct timeval limit = {.tv_sec = 4};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

static int dial(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)http_app_port(app))};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    set_limit(fd);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Reads until `until` has been seen, or to the end when it is NULL. Returns an owned string. */
static char *hear(int fd, const char *until)
{
    struct strbuf b = {0};
    char piece[4096];
    while (!until || !strstr(strbuf_str(&b), until)) {
        ssize_t n = recv(fd, piece, sizeof(piece), 0);
        if (n <= 0)
            break;
        strbuf_addn(&b, piece, (size_t)n);
    }
    return strbuf_steal(&b);
}

/* One request on a connection of its own; the whole answer. */
static char *ask(const char *request)
{
    cleanup_close int fd = dial();
    say(fd, request);
    return hear(fd, NULL);
}

#define CLOSE "Host: localhost\r\nConnection: close\r\n"

static char *get(const char *path)
{
    cleanup_free char *request = xasprintf("GET %s HTTP/1.1\r\n" CLOSE "\r\n", path);
    return ask(request);
}

#define assert_has(text, part)                                                                     \
    do {                                                                                           \
        if (!strstr(text, part))                                                                   \
            fail_msg("no \"%s\" in: %s", part, text);                                              \
    } while (0)

static void wait_for(volatile unsigned *counter, unsigned value)
{
    for (int i = 0; i < 400 && *counter != value; i++)
        usleep(10000);
    assert_int_equal(*counter, value);
}

static void start(const struct http_listener_options *options)
{
    static const struct http_listener_options none = {.name = "test", .max_connections = 2000};
    app = http_app_start(options ? options : &none, NULL);
}

static int up(void **state)
{
    start(NULL);
    return 0;
}

static int down(void **state)
{
    http_app_stop(app, 100);
    return 0;
}

static void test_routes(void **state)
{
    cleanup_free char *plain = get("/plain"), *item = get("/items/a%2Fb%20c?q=1%262+3"),
                      *missing = get("/nowhere"), *bad = get("/items/%zz");
    assert_has(plain, "HTTP/1.1 200");
    assert_has(plain, "Content-Type: text/plain");
    assert_has(plain, "\r\n\r\nhello");
    assert_has(item, "{\"id\":\"a/b c\",\"q\":\"1&2 3\",\"uid\":-1}");
    assert_has(missing, "HTTP/1.1 404");
    assert_has(missing, "{\"error\":\"there is nothing at /nowhere\",\"field\":\"path\"}");
    assert_has(bad, "HTTP/1.1 400");
    assert_has(bad, "\"field\":\"path\"");
}

static void test_methods(void **state)
{
    cleanup_free char *head = ask("HEAD /plain HTTP/1.1\r\n" CLOSE "\r\n");
    cleanup_free char *wrong = ask("DELETE /echo HTTP/1.1\r\n" CLOSE "\r\n");
    assert_has(head, "HTTP/1.1 200");
    assert_has(head, "Content-Length: 5");
    assert_null(strstr(head, "hello"));
    assert_has(wrong, "HTTP/1.1 405");
    assert_has(wrong, "Allow: POST, PATCH\r\n");
    cleanup_free char *read_only = ask("DELETE /plain HTTP/1.1\r\n" CLOSE "\r\n");
    assert_has(read_only, "Allow: GET, HEAD\r\n");
    assert_has(read_only, "\"field\":\"method\"");
}

static void test_keep_alive_and_pipelining(void **state)
{
    cleanup_close int fd = dial();
    say(fd, "GET /plain HTTP/1.1\r\nHost: x\r\n\r\nPOST /echo HTTP/1.1\r\nHost: x\r\n"
            "Content-Length: 3\r\n\r\nabcGET /items/z HTTP/1.1\r\n" CLOSE "\r\n");
    cleanup_free char *all = hear(fd, NULL);
    const char *abc = strstr(all, "\r\n\r\nabc");
    assert_has(all, "\r\n\r\nhello");
    assert_non_null(abc);
    assert_has(abc, "\"id\":\"z\"");
}

static void check_early_413(const char *method, const char *path)
{
    cleanup_free char *request =
        xasprintf("%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n", method, path);
    cleanup_close int fd = dial();
    say(fd, request);
    cleanup_free char *answer = hear(fd, NULL); /* to the end: the connection is closed */
    assert_has(answer, "HTTP/1.1 413");
    assert_null(strstr(answer + 10, "HTTP/1.1"));
}

static void test_body_limits(void **state)
{
    check_early_413("POST", "/echo");
    check_early_413("PATCH", "/echo");
    check_early_413("GET", "/plain");
    /* A small refused body is read, and the connection goes on. */
    cleanup_free char *body = xcalloc(2001, 1);
    memset(body, 'x', 2000);
    cleanup_free char *request =
        xasprintf("PATCH /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n%s"
                  "GET /plain HTTP/1.1\r\n" CLOSE "\r\n",
                  body);
    cleanup_free char *answer = ask(request);
    assert_has(answer, "HTTP/1.1 413");
    assert_has(answer, "at most 1000 bytes");
    assert_has(answer, "hello");
}

static void refuse_strangers(struct http_call *call, void *data)
{
    if (!http_call_bearer(call))
        http_respond_error(call, 401, NULL, "who?");
}

/* A stranger's body is not waited for, and not kept. */
static void test_admission(void **state)
{
    struct http_listener_options options = {.name = "agents", .admit = refuse_strangers};
    app = http_app_start(&options, NULL);
    cleanup_close int fd = dial();
    say(fd,
        "POST /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"); /* a streamed route's own business */
    cleanup_free char *sunk = hear(fd, "\r\n\r\n");
    assert_has(sunk, "HTTP/1.1 201");
    cleanup_close int stranger = dial();
    say(stranger, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    cleanup_free char *who = hear(stranger, NULL);
    assert_has(who, "HTTP/1.1 401");
    cleanup_free char *known = ask("POST /echo HTTP/1.1\r\n" CLOSE
                                   "Authorization: Bearer x\r\nContent-Length: 2\r\n\r\nab");
    assert_has(known, "\r\n\r\nab");
    http_app_stop(app, 50);
}

/* However many send, what is held has a bound; and there is room again afterwards. */
static void test_bodies_together(void **state)
{
    struct http_listener_options options = {.name = "agents", .bodies_max = 100};
    app = http_app_start(&options, NULL);
    cleanup_free char *body = xcalloc(101, 1);
    memset(body, 'x', 60);
    cleanup_free char *half =
        xasprintf("POST /echo HTTP/1.1\r\n" CLOSE "Content-Length: 61\r\n\r\n%s", body);
    cleanup_free char *whole = xasprintf("%sy", half);
    cleanup_close int first = dial();
    say(first, half);
    free(get("/plain")); /* what was said before has been read by then */
    cleanup_free char *refused = ask(whole);
    assert_has(refused, "HTTP/1.1 503");
    assert_has(refused, "Retry-After: 5\r\n");
    say(first, "y");
    cleanup_free char *good = hear(first, NULL);
    assert_has(good, "HTTP/1.1 200");
    cleanup_free char *again = ask(whole);
    assert_has(again, "HTTP/1.1 200");
    http_app_stop(app, 50);
}

static void test_chunked_body(void **state)
{
    cleanup_free char *good = ask("POST /echo HTTP/1.1\r\n" CLOSE "Transfer-Encoding: chunked\r\n"
                                  "\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
    assert_has(good, "\r\n\r\nabcdefg");
    cleanup_free char *chunk = xcalloc(1002, 1);
    memset(chunk, 'x', 1001);
    cleanup_free char *request =
        xasprintf("PATCH /echo HTTP/1.1\r\n" CLOSE "Transfer-Encoding: chunked\r\n"
                  "\r\n3e9\r\n%s\r\n0\r\n\r\n",
                  chunk);
    cleanup_free char *big = ask(request);
    assert_has(big, "HTTP/1.1 413");
}

static void test_expect_continue(void **state)
{
    cleanup_close int fd = dial();
    say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    cleanup_free char *go = hear(fd, "\r\n\r\n");
    assert_has(go, "HTTP/1.1 100");
    say(fd, "12345");
    cleanup_free char *answer = hear(fd, "12345");
    assert_has(answer, "HTTP/1.1 200");
    cleanup_close int other = dial();
    say(other, "PATCH /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n"
               "Expect: 100-continue\r\n\r\n");
    cleanup_free char *refused = hear(other, "\r\n\r\n");
    assert_has(refused, "HTTP/1.1 413");
}

static void check_sink(const char *method, const char *block, int size)
{
    cleanup_close int fd = dial(), refused = dial();
    cleanup_free char *head =
        xasprintf("%s /sink HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", method, size);
    say(fd, head);
    say(fd, block);
    cleanup_free char *answer = hear(fd, "}");
    assert_has(answer, "HTTP/1.1 201");
    assert_has(answer, "{\"received\":3000000}");
    cleanup_free char *other = xasprintf(
        "%s /sink?refuse=1 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", method, size);
    say(refused, other);
    cleanup_free char *no = hear(refused, NULL);
    assert_has(no, "HTTP/1.1 403");
}

static void test_streamed_body(void **state)
{
    enum { SIZE = 3000000 };
    cleanup_free char *block = xcalloc(SIZE + 1, 1);
    memset(block, 'y', SIZE);
    check_sink("POST", block, SIZE);
    check_sink("PATCH", block, SIZE);
}

static void test_upload_cut(void **state)
{
    int fd = dial();
    say(fd, "POST /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabcdefgh");
    usleep(50000);
    close(fd);
    wait_for(&http_app_counters(app)->gone, 1);
}

static void test_stream(void **state)
{
    cleanup_free char *answer = get("/stream?n=3");
    assert_has(answer, "Transfer-Encoding: chunked");
    assert_has(answer, "data: 2\n\n");
    assert_has(answer, "data: 0\n\n");
    assert_has(answer, "\r\n0\r\n\r\n");
    wait_for(&http_app_counters(app)->streams_done, 1);
    assert_int_equal(http_app_counters(app)->streams_cut, 0);
    int fd = dial();
    say(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    free(hear(fd, "data: 999990"));
    close(fd);
    wait_for(&http_app_counters(app)->streams_cut, 1);
    cleanup_free char *head = ask("HEAD /stream HTTP/1.1\r\n" CLOSE "\r\n");
    assert_has(head, "HTTP/1.1 200");
    wait_for(&http_app_counters(app)->streams_done, 3);
}

static char *get_range(const char *range)
{
    cleanup_free char *request =
        xasprintf("GET /file HTTP/1.1\r\n" CLOSE "Range: %s\r\n\r\n", range);
    return ask(request);
}

static void test_file_ranges(void **state)
{
    cleanup_free char *whole = get("/file"), *part = get_range("bytes=2-4"),
                      *tail = get_range("bytes=-3"), *open = get_range("bytes=7-"),
                      *beyond = get_range("bytes=10-"), *odd = get_range("lines=1-2");
    assert_has(whole, "\r\n\r\n0123456789");
    assert_has(part, "HTTP/1.1 206");
    assert_has(part, "Content-Range: bytes 2-4/10\r\n");
    assert_has(part, "\r\n\r\n234");
    assert_has(tail, "\r\n\r\n789");
    assert_has(open, "\r\n\r\n789");
    assert_has(beyond, "HTTP/1.1 416");
    assert_has(beyond, "Content-Range: bytes */10\r\n");
    assert_has(odd, "HTTP/1.1 200");
}

static void test_long_polls(void **state)
{
    enum { N = 300, GONE = 100 };
    int fds[N];
    struct http_app_counters *counters = http_app_counters(app);
    for (int i = 0; i < N; i++) {
        fds[i] = dial();
        say(fds[i], "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    wait_for(&counters->waiting, N);
    for (int i = 0; i < GONE; i++)
        close(fds[i]);
    wait_for(&counters->gone, GONE);
    wait_for(&counters->waiting, N - GONE);
    http_app_wake(app);
    for (int i = GONE; i < N; i++) {
        cleanup_free char *answer = hear(fds[i], "woken");
        assert_has(answer, "HTTP/1.1 200");
        close(fds[i]);
    }
    assert_int_equal(counters->gone, GONE);
}

static void test_wake_is_prompt(void **state)
{
    cleanup_close int fd = dial();
    say(fd, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for(&http_app_counters(app)->waiting, 1);
    int64_t before = clock_mono_ms();
    http_app_wake(app);
    free(hear(fd, "woken"));
    assert_true(clock_mono_ms() - before < 1000);
}

static void test_stop_drops_long_polls(void **state)
{
    start(NULL);
    cleanup_close int fd = dial(), idle = dial();
    assert_true(idle >= 0);
    say(fd, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for(&http_app_counters(app)->waiting, 1);
    int64_t before = clock_mono_ms();
    http_app_stop(app, 50);
    assert_true(clock_mono_ms() - before < 3000);
    cleanup_free char *nothing = hear(fd, NULL);
    assert_string_equal(nothing, "");
}

/* A byte now and then does not keep a connection alive: it ends within these milliseconds. */
static void drip(const char *start_text, int64_t at_least, int64_t at_most)
{
    cleanup_close int fd = dial();
    say(fd, start_text);
    int64_t before = clock_mono_ms();
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (poll(&p, 1, 20) == 0 && clock_mono_ms() - before < 3000)
        if (send(fd, "x", 1, MSG_NOSIGNAL) < 0)
            break;
    assert_in_range(clock_mono_ms() - before, at_least, at_most);
}

static void test_slow_loris(void **state)
{
    struct http_listener_options options = {.name = "slow", .headers_ms = 300, .body_ms = 500};
    start(&options);
    drip("GET /plain HTTP/1.1\r\nHost: x\r\nX-Slow: ", 250, 2500);
    drip("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n", 450, 2500);
    drip("POST /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n", 450, 2500);
    cleanup_close int fd = dial(); /* a long poll outlives them all */
    say(fd, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    usleep(900000);
    http_app_wake(app);
    cleanup_free char *answer = hear(fd, "woken");
    assert_has(answer, "200");
    http_app_stop(app, 50);
}

static void test_host_check(void **state)
{
    static const char *const hosts[] = {"farm.example", NULL};
    struct http_listener_options options = {.name = "status", .check_host = true, .hosts = hosts};
    start(&options);
    cleanup_free char *evil =
        ask("GET /plain HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    cleanup_free char *good =
        ask("GET /plain HTTP/1.1\r\nHost: Farm.Example:80\r\nConnection: close\r\n\r\n");
    cleanup_free char *local = get("/plain");
    assert_has(evil, "HTTP/1.1 403");
    assert_has(good, "hello");
    assert_has(local, "hello");
    http_app_stop(app, 50);
}

static char *ask_unix(const char *path, const char *request)
{
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    strcpy(addr.sun_path, path);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    set_limit(fd);
    say(fd, request);
    return hear(fd, NULL);
}

#define WRITE_REQUEST "POST /write HTTP/1.1\r\n" CLOSE "Content-Length: 2\r\n"

static void test_writes(void **state)
{
    char dir[] = "/tmp/test-http-XXXXXX";
    assert_non_null(mkdtemp(dir));
    cleanup_free char *path = xasprintf("%s/sock", dir);
    struct http_listener_options options = {.name = "status", .write_token = "secret"};
    app = http_app_start(&options, path);
    cleanup_free char *bare = ask(WRITE_REQUEST "\r\nab");
    cleanup_free char *wrong = ask(WRITE_REQUEST "Authorization: Bearer secreT\r\n\r\nab");
    cleanup_free char *right = ask(WRITE_REQUEST "Authorization: Bearer secret\r\n\r\nab");
    cleanup_free char *by_unix = ask_unix(path, WRITE_REQUEST "\r\nab");
    cleanup_free char *who = ask_unix(path, "GET /items/x HTTP/1.1\r\n" CLOSE "\r\n");
    cleanup_free char *uid = xasprintf("\"uid\":%d", (int)getuid());
    assert_has(bare, "HTTP/1.1 403");
    assert_has(wrong, "HTTP/1.1 403");
    assert_has(right, "HTTP/1.1 200");
    assert_has(by_unix, "HTTP/1.1 200");
    assert_has(who, uid);
    http_app_stop(app, 50);
    assert_int_not_equal(access(path, F_OK), 0);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_routes, up, down),
        cmocka_unit_test_setup_teardown(test_methods, up, down),
        cmocka_unit_test_setup_teardown(test_keep_alive_and_pipelining, up, down),
        cmocka_unit_test_setup_teardown(test_body_limits, up, down),
        cmocka_unit_test(test_admission),
        cmocka_unit_test(test_bodies_together),
        cmocka_unit_test_setup_teardown(test_chunked_body, up, down),
        cmocka_unit_test_setup_teardown(test_expect_continue, up, down),
        cmocka_unit_test_setup_teardown(test_streamed_body, up, down),
        cmocka_unit_test_setup_teardown(test_upload_cut, up, down),
        cmocka_unit_test_setup_teardown(test_stream, up, down),
        cmocka_unit_test_setup_teardown(test_file_ranges, up, down),
        cmocka_unit_test_setup_teardown(test_long_polls, up, down),
        cmocka_unit_test_setup_teardown(test_wake_is_prompt, up, down),
        cmocka_unit_test(test_stop_drops_long_polls),
        cmocka_unit_test(test_slow_loris),
        cmocka_unit_test(test_host_check),
        cmocka_unit_test(test_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
