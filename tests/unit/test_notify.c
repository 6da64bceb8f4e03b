#include "common/notify.h"
#include "tests/lib/test.h"

#include <sys/socket.h>
#include <sys/un.h>

static char folder[] = "/tmp/test-notify-XXXXXX";

static int listen_at(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strcpy(a.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static void assert_heard(int fd, const char *text)
{
    char buf[512] = {0};
    ssize_t n = recv(fd, buf, sizeof(buf) - 1, 0);
    if (!text) {
        assert_int_equal(n, -1);
        return;
    }
    assert_true(n > 0);
    assert_int_equal(strncmp(buf, text, strlen(text)), 0);
}

static void test_without_a_manager(void **state)
{
    unsetenv("NOTIFY_SOCKET");
    assert_false(notify_init());
    notify_ready();
    notify_status("nobody listens");
    assert_int_equal(notify_watchdog_ms(), 0);
}

static void test_what_is_told(void **state)
{
    char path[64], pid[32];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/s", folder);
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    int fd = listen_at(path);
    setenv("NOTIFY_SOCKET", path, 1);
    setenv("WATCHDOG_USEC", "3000000", 1);
    setenv("WATCHDOG_PID", pid, 1);
    assert_true(notify_init());
    assert_null(getenv("NOTIFY_SOCKET"));
    assert_int_equal(notify_watchdog_ms(), 1500);
    notify_ready();
    assert_heard(fd, "READY=1");
    notify_status("2 of %d\nREADY=0", 3);
    assert_heard(fd, "STATUS=2 of 3 READY=0");
    notify_status("2 of %d\nREADY=0", 3);
    assert_heard(fd, NULL);
    notify_reloading();
    assert_heard(fd, "RELOADING=1\nMONOTONIC_USEC=");
    notify_watchdog();
    assert_heard(fd, "WATCHDOG=1");
    notify_stopping();
    assert_heard(fd, "STOPPING=1");
    close(fd);
    notify_ready(); /* nobody there any more: nothing happens */
    unlink(path);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_a_manager),
        cmocka_unit_test(test_what_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
