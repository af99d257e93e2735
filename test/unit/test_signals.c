/* test/unit/test_signals.c: what SIGTERM, SIGINT and SIGPIPE do, each in a child: they are the whole process's. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ops/signals.h"

static int exit_of(void (*child)(void))
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        child();
        _exit(99);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static bool readable(int fd)
{
    struct pollfd f = {.fd = fd, .events = POLLIN};

    return poll(&f, 1, 0) == 1;
}

static void start_or_exit(void)
{
    struct error err;

    if (signals_start(&err) != OK || signals_stopping() || readable(signals_fd()))
        _exit(1);
}

static void term_once(void)
{
    start_or_exit();
    raise(SIGTERM);
    _exit(signals_stopping() && readable(signals_fd()) && readable(signals_fd()) ? 0 : 2);
}

static void int_then_term(void)
{
    start_or_exit();
    raise(SIGINT);
    raise(SIGTERM);
    _exit(signals_stopping() ? 0 : 2);
}

static void term_twice(void)
{
    start_or_exit();
    raise(SIGTERM);
    raise(SIGTERM);
}

static void int_twice(void)
{
    start_or_exit();
    raise(SIGINT);
    raise(SIGINT);
}

static void write_to_nobody(void)
{
    int ends[2];

    start_or_exit();
    if (pipe(ends) != 0)
        _exit(3);
    close(ends[0]);
    _exit(write(ends[1], "x", 1) == -1 && errno == EPIPE && !signals_stopping() ? 0 : 2);
}

static void stop_by_itself(void)
{
    start_or_exit();
    signals_stop();
    _exit(signals_stopping() && readable(signals_fd()) ? 0 : 2);
}

static void the_first_signal_asks_the_same_again_exits_with_130(void **state)
{
    (void)state;
    assert_int_equal(exit_of(term_once), 0);
    assert_int_equal(exit_of(int_then_term), 0);
    assert_int_equal(exit_of(stop_by_itself), 0);
    assert_int_equal(exit_of(term_twice), 130);
    assert_int_equal(exit_of(int_twice), 130);
}

static void a_closed_pipe_is_an_error_code(void **state)
{
    (void)state;
    assert_int_equal(exit_of(write_to_nobody), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_signal_asks_the_same_again_exits_with_130),
        cmocka_unit_test(a_closed_pipe_is_an_error_code),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
